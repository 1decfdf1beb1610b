# intraclass correlation of binary trials by analysis of variance, and the design effect of unequal clusters
set.seed(3)
sizes <- c(1, 2, 5, 3, 12, 4, 2, 7)
values <- unlist(lapply(sizes, function(m) rbinom(m, 1, rbeta(1, 1, 2))))
cluster <- factor(rep(seq_along(sizes), sizes))
table <- anova(lm(values ~ cluster))
between <- table["cluster", "Mean Sq"]; within <- table["Residuals", "Mean Sq"]
typical <- (sum(sizes) - sum(sizes^2) / sum(sizes)) / (length(sizes) - 1)
rho <- (between - within) / (between + (typical - 1) * within)
cat(jsonlite::toJSON(list(values = values, sizes = sizes, rho = rho), digits = 12, auto_unbox = TRUE))
