# Newcombe (1998), Statistics in Medicine 17, 2635-2650: difference of paired proportions, method 10, from the four counts
score <- function(x, n) { b <- prop.test(x, n, correct = FALSE)$conf.int; as.numeric(b) }
paired <- function(e, f, g, h) {
  n <- e + f + g + h; p1 <- (e + f) / n; p2 <- (e + g) / n
  w1 <- score(e + f, n); w2 <- score(e + g, n)
  d <- p1 - p2; a <- (e + f) * (g + h) * (e + g) * (f + h)
  num <- e * h - f * g; if (num > 0) num <- max(num - n / 2, 0)
  phi <- if (a == 0) 0 else num / sqrt(a)
  lower <- d - sqrt((p1 - w1[1])^2 - 2 * phi * (p1 - w1[1]) * (w2[2] - p2) + (w2[2] - p2)^2)
  upper <- d + sqrt((p2 - w2[1])^2 - 2 * phi * (p2 - w2[1]) * (w1[2] - p1) + (w1[2] - p1)^2)
  c(e, f, g, h, lower, upper)
}
tables <- list(c(36, 12, 2, 0), c(20, 12, 2, 16), c(18, 14, 4, 14), c(16, 16, 6, 12), c(53, 1, 1, 45), c(0, 20, 12, 18), c(5, 0, 0, 25))
cat(jsonlite::toJSON(do.call(rbind, lapply(tables, function(t) do.call(paired, as.list(t)))), digits = 12))
