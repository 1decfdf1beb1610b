# Reference values of the regressions, with R's own packages. record_regressions.py writes the CSV files and calls this.
suppressMessages({library(geepack); library(sandwich); library(ordinal); library(survival); library(brglm2); library(jsonlite)})
arguments <- commandArgs(trailingOnly = TRUE)
data <- read.csv(arguments[1], stringsAsFactors = FALSE)
data$kind <- relevel(factor(data$kind), ref = "statement")
data$method <- relevel(factor(data$method), ref = "ft")
data$log_views <- data$log_views - mean(data$log_views)
data$subject_number <- as.integer(factor(data$subject, levels = unique(data$subject)))
data <- data[order(data$subject_number), ]
out <- list()
named <- function(x) as.list(x)

# 1. GEE, exchangeable
formula <- value ~ kind + method * log_views
gee <- geeglm(formula, id = subject_number, data = data, family = binomial, corstr = "exchangeable")
out$gee <- list(beta = named(coef(gee)), se = named(setNames(sqrt(diag(vcov(gee))), names(coef(gee)))))

# 2. logistic regression with cluster-robust errors
glm_fit <- glm(formula, data = data, family = binomial)
robust <- vcovCL(glm_fit, cluster = ~subject_number, type = "HC1", cadjust = TRUE)
out$glm <- list(beta = named(coef(glm_fit)), se = named(sqrt(diag(robust))))

# 3. linear regression with cluster-robust errors
lm_fit <- lm(formula, data = data)
robust_lm <- vcovCL(lm_fit, cluster = ~subject_number, type = "HC1", cadjust = TRUE)
out$gaussian <- list(beta = named(coef(lm_fit)), se = named(sqrt(diag(robust_lm))))

# 4. average marginal effects by finite differences, errors by the delta method with a numeric gradient
average <- function(beta, change) {
  predict_with <- function(rows) mean(plogis(as.vector(model.matrix(delete.response(terms(glm_fit)), rows, xlev = glm_fit$xlevels) %*% beta)))
  change(predict_with)
}
effect <- function(change) {
  beta <- coef(glm_fit)
  value <- average(beta, change)
  gradient <- sapply(seq_along(beta), function(j) {
    step <- 1e-5
    up <- beta; up[j] <- up[j] + step
    down <- beta; down[j] <- down[j] - step
    (average(up, change) - average(down, change)) / (2 * step)
  })
  c(100 * value, 100 * sqrt(as.numeric(t(gradient) %*% robust %*% gradient)))
}
with_level <- function(rows, name, level) { rows[[name]] <- factor(level, levels = levels(data[[name]])); rows }
with_views <- function(rows, step) { rows$log_views <- rows$log_views + step; rows }
rome <- data[data$method == "rome", ]
out$effects <- list(
  cloze = effect(function(p) p(with_level(data, "kind", "cloze")) - p(with_level(data, "kind", "statement"))),
  rome = effect(function(p) p(with_level(data, "method", "rome")) - p(with_level(data, "method", "ft"))),
  log_views = effect(function(p) (p(with_views(data, 1e-4)) - p(with_views(data, -1e-4))) / 2e-4),
  log_views_rome = effect(function(p) (p(with_views(rome, 1e-4)) - p(with_views(rome, -1e-4))) / 2e-4)
)

# 5. cumulative logits: geepack's, as pooled binary steps, and by maximum likelihood
graded <- read.csv(arguments[2], stringsAsFactors = FALSE)
graded$kind <- relevel(factor(graded$kind), ref = "statement")
graded$method <- relevel(factor(graded$method), ref = "ft")
graded$log_views <- graded$log_views - mean(graded$log_views)
graded$subject_number <- as.integer(factor(graded$subject, levels = unique(graded$subject)))
graded <- graded[order(graded$subject_number), ]
ml <- clm(ordered(value) ~ kind + method + log_views, data = graded)
out$clm <- list(beta = named(ml$beta), se = named(sqrt(diag(vcov(ml)))[names(ml$beta)]))
steps <- rbind(cbind(graded, step = 0, reached = as.numeric(graded$value >= 1)), cbind(graded, step = 1, reached = as.numeric(graded$value >= 2)))
pooled <- glm(reached ~ kind + method + log_views + step, data = steps, family = binomial)
pooled_robust <- vcovCL(pooled, cluster = ~subject_number, type = "HC0", cadjust = FALSE)
out$ordinal <- list(beta = named(coef(pooled)), se = named(sqrt(diag(pooled_robust))))

# 6. conditional logit within a fact
conditional <- clogit(value ~ kind + method + strata(subject_number), data = data, method = "exact")
out$conditional <- list(beta = named(coef(conditional)), se = named(setNames(sqrt(diag(vcov(conditional))), names(coef(conditional)))))

# 7. Firth: a level that always succeeds; profile of the penalised likelihood by optim
separated <- read.csv(arguments[3], stringsAsFactors = FALSE)
separated$kind <- relevel(factor(separated$kind), ref = "paraphrase")
separated$method <- relevel(factor(separated$method), ref = "ft")
firth <- glm(value ~ kind + method, data = separated, family = binomial, method = "brglmFit", type = "AS_mean",
             epsilon = 1e-10, maxit = 1000)
x <- model.matrix(firth)
y <- separated$value
w <- separated$weight
penalised <- function(beta, weight) {
  eta <- as.vector(x %*% beta)
  p <- plogis(eta)
  information <- t(x) %*% (x * (weight * p * (1 - p)))
  sum(weight * (y * plogis(eta, log.p = TRUE) + (1 - y) * plogis(-eta, log.p = TRUE))) +
    0.5 * as.numeric(determinant(information)$modulus)
}
profile_at <- function(value, j, weight) {
  start <- coef(firth)[-j]
  fit <- optim(start, function(free) { beta <- numeric(ncol(x)); beta[j] <- value; beta[-j] <- free; -penalised(beta, weight) },
               method = "BFGS", control = list(reltol = 1e-14, maxit = 1000))
  -fit$value
}
j <- which(colnames(x) == "kindstatement")
full <- optim(coef(firth), function(beta) -penalised(beta, w), method = "BFGS", control = list(reltol = 1e-14, maxit = 1000))
best <- -full$value
lower <- uniroot(function(value) 2 * (best - profile_at(value, j, w)) - qchisq(0.90, 1), c(full$par[j] - 8, full$par[j]), tol = 1e-7)$root
out$firth <- list(beta = named(coef(firth)), bound = lower, p = pchisq(2 * (best - profile_at(0, j, w)), 1, lower.tail = FALSE))
out$versions <- list(R = as.character(getRversion()), geepack = as.character(packageVersion("geepack")),
  sandwich = as.character(packageVersion("sandwich")), ordinal = as.character(packageVersion("ordinal")),
  survival = as.character(packageVersion("survival")), brglm2 = as.character(packageVersion("brglm2")))
write_json(out, arguments[4], digits = 10, auto_unbox = TRUE, pretty = TRUE)
