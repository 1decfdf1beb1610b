# Numbers for tests/statistics: rank correlations, partial rank correlations and random effects in R.
# Rscript correlations.R table.csv effects.csv correlations.json; record_correlations.py writes the inputs and calls this.
suppressMessages({library(metafor); library(jsonlite)})
arguments <- commandArgs(trailingOnly = TRUE)
rows <- read.csv(arguments[1])
effects <- read.csv(arguments[2])

rank_test <- function(x, y) {
  rho <- suppressWarnings(cor.test(x, y, method = "spearman", exact = FALSE))
  tau <- suppressWarnings(cor.test(x, y, method = "kendall", exact = FALSE))
  list(rho = unname(rho$estimate), p = rho$p.value, tau = unname(tau$estimate), tau_p = tau$p.value)
}

# The partial correlation from the inverse of the matrix of Spearman's correlations, and its t test: Kim (2015), ppcor.
partial <- function(variables) {
  inverse <- solve(cor(variables, method = "spearman"))
  rho <- -inverse[1, 2] / sqrt(inverse[1, 1] * inverse[2, 2])
  df <- nrow(variables) - 2 - (ncol(variables) - 2)
  list(partial_rho = rho, partial_p = 2 * pt(-abs(rho * sqrt(df / (1 - rho^2))), df))
}

pool <- function(method, test) {
  fit <- rma(effects$z, effects$variance, method = method, test = test,
             control = list(tol = 1e-12, threshold = 1e-12, maxiter = 1000))
  prediction <- predict(fit)
  list(mean = fit$b[1], low = fit$ci.lb, high = fit$ci.ub, tau2 = fit$tau2, i2 = fit$I2 / 100,
       prediction_low = prediction$pi.lb, prediction_high = prediction$pi.ub)
}

reference <- list(
  graded = rank_test(rows$x, rows$graded),
  binary = rank_test(rows$x, rows$binary),
  partial_one = partial(rows[, c("x", "graded", "first")]),
  partial_two = partial(rows[, c("x", "binary", "first", "second")]),
  pm_adhoc = pool("PM", "adhoc"), pm_knha = pool("PM", "knha"), pm_z = pool("PM", "z"), reml_z = pool("REML", "z"),
  holm = p.adjust(c(.04, .001, .03, .2, .001), "holm"), bh = p.adjust(c(.04, .001, .03, .2, .001), "BH"),
  versions = list(R = as.character(getRversion()), metafor = as.character(packageVersion("metafor")))
)
write_json(reference, arguments[3], auto_unbox = TRUE, digits = 12, pretty = TRUE)
