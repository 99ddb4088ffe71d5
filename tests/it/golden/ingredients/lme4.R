# Mixed models of the paper's table by lme4 and lmerTest: writes lme4.json. Run in the repository's root:
#   Rscript tests/it/golden/ingredients/lme4.R
# R 4.2.2, lme4 1.1-31, lmerTest 3.1-3 (Debian 12: r-cran-lmertest r-cran-jsonlite)
suppressMessages({library(lmerTest); library(jsonlite)})

data <- merge(read.csv("data/paper/alignment.csv")[c("model", "r2")], read.csv("data/paper/models.csv"), by = "model")
z <- function(x) (x - mean(x)) / sd(x)
# Tight enough that coefficients have ten digits.
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 0.1, rhoend = 1e-10, maxfun = 1e5))

# z() is over the rows used: rows with an empty cell go first.
complete <- function(columns) data[complete.cases(data[columns]) & rowSums(data[columns] == "", na.rm = TRUE) == 0, ]

components <- function(m) {
  v <- as.data.frame(VarCorr(m))
  v <- v[is.na(v$var2), ]
  list(sd = v$sdcor, correlations = lapply(VarCorr(m), function(x) as.vector(attr(x, "correlation"))))
}

described <- function(m) {
  s <- summary(m, ddf = "Satterthwaite")$coefficients
  list(names = rownames(s), beta = s[, 1], se = s[, 2], df = s[, 3], p = s[, 5], theta = getME(m, "theta"),
       sigma = sigma(m), components = components(m), log_likelihood = as.numeric(logLik(m)), aic = AIC(m), bic = BIC(m),
       fitted = unname(fitted(m)), singular = isSingular(m),
       effects = lapply(ranef(m), function(x) list(levels = rownames(x), values = as.matrix(x))))
}

of <- function(formula, d, REML) lmer(formula, d, REML = REML, control = tight)

term_test <- function(m, columns) {
  L <- diag(length(fixef(m)))[which(names(fixef(m)) %in% columns), , drop = FALSE]
  as.list(contestMD(m, L))
}

both <- function(formula, columns, profiles = FALSE) {
  d <- complete(columns)
  reml <- of(formula, d, TRUE)
  ml <- of(formula, d, FALSE)
  out <- list(n = nrow(d), models = d$model, reml = described(reml), ml = described(ml))
  if (profiles) {
    # lme4 profiles with the fit's own search, which the tight one upsets.
    ci <- suppressWarnings(confint(profile(lmer(formula, d, REML = FALSE), signames = FALSE), level = 0.95))
    out$profile <- list(names = rownames(ci), low = ci[, 1], high = ci[, 2])
  }
  out
}

ingredients <- c("r2", "instruct", "multimodal", "hidden_size", "intermediate_size", "attention_heads", "max_context", "family")
paper <- r2 ~ instruct + z(hidden_size) + z(intermediate_size) + z(attention_heads) + z(max_context) + multimodal + (1 | family)
slope <- r2 ~ instruct + z(hidden_size) + z(intermediate_size) + z(attention_heads) + z(max_context) + multimodal +
  (1 + instruct | family)
apart <- r2 ~ z(hidden_size) + instruct + (1 | family) + (0 + z(hidden_size) | family)
crossed <- r2 ~ z(hidden_size) + (1 | family) + (1 | stage)
factors <- r2 ~ activation + instruct * z(log2(max_context)) + (1 | family)

out <- list(
  paper = both(paper, ingredients, TRUE),
  slope = both(slope, ingredients, TRUE),
  apart = both(apart, c("r2", "instruct", "hidden_size", "family")),
  crossed = both(crossed, c("r2", "hidden_size", "family", "stage"), TRUE),
  factors = both(factors, c("r2", "activation", "instruct", "max_context", "family")))

d <- complete(c("r2", "activation", "instruct", "max_context", "family"))
m <- of(factors, d, TRUE)
out$factors$activation <- term_test(m, grep("^activation", names(fixef(m)), value = TRUE))

# One row, one family left out, and Cook's distances; z() stays as it is over all rows.
d <- complete(ingredients)
for (column in ingredients[4:7]) d[[column]] <- z(d[[column]])
plain <- r2 ~ instruct + hidden_size + intermediate_size + attention_heads + max_context + multimodal + (1 | family)
m <- of(plain, d, TRUE)
influence_of <- function(names, keep) {
  fits <- lapply(names, function(name) fixef(of(plain, d[keep(name), ], TRUE)))
  distances <- sapply(fits, function(b) {
    delta <- b - fixef(m)
    as.numeric(delta %*% solve(as.matrix(vcov(m))) %*% delta) / length(b)
  })
  list(names = names, beta = fits, cook = distances)
}
out$influence <- list(families = influence_of(sort(unique(d$family)), function(name) d$family != name),
                      rows = influence_of(d$model[1:6], function(name) d$model != name))

null <- of(r2 ~ instruct + (1 | family), d, FALSE)
test <- anova(null, of(plain, d, FALSE))
out$likelihood_ratio <- list(chi2 = test$Chisq[2], df = test$Df[2], p = test$`Pr(>Chisq)`[2])

writeLines(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = FALSE), "tests/it/golden/ingredients/lme4.json")
