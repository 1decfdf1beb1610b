# AUC, Brier score and calibration of predicted probabilities, by pROC and glm. Run by record_discrimination.py:
# Rscript discrimination.R data.csv discrimination.json
suppressMessages({library(pROC); library(jsonlite)})
arguments <- commandArgs(trailingOnly = TRUE)
data <- read.csv(arguments[1])
area <- function(rows) as.numeric(auc(roc(rows$y, rows$p, levels = c(0, 1), direction = "<", quiet = TRUE)))
# pairs of one stratum only: the strata's areas, weighted by their numbers of pairs
strata <- split(data, data$stratum)
pairs <- sapply(strata, function(rows) sum(rows$y == 1) * sum(rows$y == 0))
areas <- sapply(strata, function(rows) if (length(unique(rows$y)) == 2) area(rows) else 0)
odds <- qlogis(data$p)
slope <- glm(y ~ odds, family = binomial, data = data)
intercept <- glm(y ~ offset(odds), family = binomial, data = data)
# a resample of clusters is a weight per row
weighted <- glm(y ~ odds, family = binomial, data = data, weights = w)
write_json(list(
  auc = area(data),
  auc_within = sum(areas * pairs) / sum(pairs),
  brier = mean((data$p - data$y)^2),
  brier_skill = 1 - sum((data$p - data$y)^2) / sum((mean(data$y) - data$y)^2),
  calibration_slope = unname(coef(slope)[2]),
  calibration_intercept = unname(coef(intercept)[1]),
  platt = unname(coef(slope)),
  weighted_slope = unname(coef(weighted)[2]),
  r = R.version.string, pROC = as.character(packageVersion("pROC"))
), arguments[2], auto_unbox = TRUE, digits = 12, pretty = TRUE)
