"""What the study of SGD's noise decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.sgd_noise import rules_penalties as penalties
from implicit_bias.studies.sgd_noise import rules_stationary as stationary

CLAIMS = (
    Claim(
        "dhand.sde-8.1",
        "statistical",
        "Dhand, section 8.1, stochastic differential equation",
        "In continuous time SGD is dθ = −∇L dt + √η Σ dW, where Σ is the covariance of the noise.",
        "√η Σ dW",
        f"covariance of the equation within {100 * stationary.SAME:g} % of SGD's at small steps, in the "
        "long run and at one time, for every noise of which the square is another",
        stationary.equation_as_written,
    ),
    Claim(
        "dhand.sde-8.1.root",
        "required-control",
        "Li, Tai & E 2017, theorem 1",
        "With √η Σ^(1/2) dW the equation has SGD's moments to first order in η, with the drift of L + "
        "(η/4)‖∇L‖² to second order.",
        "1 and 2",
        f"covariances within {100 * stationary.SAME:g} %, orders within {100 * stationary.EXPONENT:g} %",
        stationary.equation_with_root,
    ),
    Claim(
        "dhand.thm-8.1",
        "statistical",
        "Dhand, theorem 8.1",
        "The stationary distribution of SGD is about exp(−2L/η − R), where R depends on the noise.",
        "exp(−2L/η − R)",
        f"on quadratics the variance along every eigenvector within {100 * stationary.SAME:g} % of η/(2λ): "
        "isotropic noise of two strengths and two step sizes, noise like H, noise that does not commute",
        stationary.gibbs_law,
    ),
    Claim(
        "dhand.thm-8.1.low-variance",
        "statistical",
        "Dhand, theorem 8.1, conclusion",
        "SGD favours regions where gradients vary less.",
        None,
        f"share of time where noise is less at least {100 * stationary.SHARE:g} points above that with "
        "uniform noise: on flat ground, in a quieter well, and beside a noisier one",
        stationary.low_variance,
    ),
    Claim(
        "dhand.prop-8.3",
        "statistical",
        "Dhand, proposition 8.3",
        "With labels of which some are wrong, early-stopped SGD gives wrong examples less weight.",
        "w_i smaller for likely corrupted examples",
        f"effect of a wrong label on all training predictions below {penalties.LESS:g} of a right "
        "one's: least squares, a network, logistic regression, a network on clusters that are small "
        "beside their distances",
        penalties.downweighted,
    ),
    Claim(
        "dhand.prop-8.3.linear",
        "identity",
        "Linearity of SGD on least squares in the labels",
        "In least squares a label's effect does not depend on which labels are wrong.",
        None,
        f"largest difference of effects, relative, at most {penalties.LINEAR:g}",
        penalties.linear_effects,
    ),
    Claim(
        "dhand.prop-8.3.robust",
        "statistical",
        "Dhand, section 8.3",
        "SGD that is stopped early is robust to wrong labels.",
        None,
        f"clean test error at the end at least {penalties.POINTS:g} percentage point above that where "
        "validation on such labels is best, every model on clusters that overlap",
        penalties.stopping_helps,
        unit="percentage points",
    ),
    Claim(
        "ch11.thm-1.5",
        "statistical",
        "Chapter 11, theorem 1.5",
        "Near a minimum SGD's covariance is proportional to ασ²H⁻¹: large along flat directions.",
        "variance ∝ 1/λ",
        f"exponent of variances in λ within {100 * stationary.EXPONENT:g} % of −1: isotropic noise, "
        "small and large steps, noise like H, noise that does not commute, mini-batches of the run's "
        "data",
        stationary.flat_directions,
    ),
    Claim(
        "ch11.thm-1.5.basins",
        "statistical",
        "Chapter 11, theorem 1.5, interpretation",
        "This biases SGD toward flat minima.",
        None,
        f"more than {100 * (0.5 + stationary.SHARE):g} % of the time in the flat of two wells: equal "
        "depths, a noisier sharp well, a deeper one, a quieter one",
        stationary.basins,
    ),
    Claim(
        "ch11.thm-1.5.density",
        "required-control",
        "Fokker–Planck equation on a line, Itô's reading",
        "On a line the stationary density is (1/c) exp(−(2/η)∫(dL/dx)/c).",
        None,
        f"shares of time within {100 * stationary.SHARE:g} points, mean over seeds",
        stationary.densities,
    ),
    Claim(
        "ch11.B.8",
        "ill-posed",
        "Chapter 11, exercise B.8 and its solution",
        "Near a minimum SGD converges to a density about exp(−Σ^(−1/2)H⁻¹α/2); by its solution "
        "exp(−θᵀHθ/(2α tr Σ)), and its covariance is to be compared with αΣH⁻¹.",
        "α tr(Σ) H⁻¹; αΣH⁻¹",
        f"traces of both covariances within {100 * stationary.TRACE:g} % of SGD's at small steps",
        stationary.stated_densities,
    ),
    Claim(
        "ch11.B.8.lyapunov",
        "required-control",
        "Liu, Ziyin & Ueda 2021; Mandt, Hoffman & Blei 2017",
        "SGD's stationary covariance solves S = (I − αH)S(I − αH) + α²C, with C of mini-batches that "
        "depends on the weights as well.",
        None,
        f"eleven cases of H, C, step size and batch, mean over seeds: within {100 * stationary.LAW:g} % "
        "in the norm that S makes",
        stationary.exact_covariances,
    ),
    Claim(
        "ch11.B.15",
        "statistical",
        "Chapter 11, exercise B.15 and its solution",
        "SGD that is stopped at T is penalised by σ²/(2αT)‖θ − θ₀‖², λ = σ²/(αT), where the loss is convex.",
        "λ = σ²/(αT)",
        f"exponent above {penalties.HALF:g} in σ² of the ridge penalty nearest to the mean end, by "
        "added noise and by the batch",
        penalties.noise_is_the_penalty,
        unit="exponent",
    ),
    Claim(
        "ch11.B.15.mean",
        "required-control",
        "Linearity of gradients of quadratics",
        "On a quadratic the mean of SGD is gradient descent, whatever the noise.",
        None,
        f"distance at most {penalties.SAMPLING:g} standard errors",
        penalties.mean_is_descents,
        unit="standard errors",
    ),
    Claim(
        "ch11.def.noise-reg",
        "statistical",
        "Chapter 11, definition of noise-induced regularization",
        "Noise adds σ²/(2α) times a penalty to the loss, α the learning rate.",
        "λ = σ²/(2α)",
        f"exponent in α of what noise adds below −{penalties.HALF:g}: labels drawn afresh, shuffled batches",
        penalties.noise_over_step,
        unit="exponent",
    ),
    Claim(
        "ch11.def.noise-reg.label-noise",
        "required-control",
        "Blanc et al. 2020; Damian, Ma & Lee 2021",
        "SGD whose labels are drawn afresh descends on L + ησ²/B · R, R = −(1/2η) tr log(1 − η∇²L/2).",
        None,
        f"fall of u² − v² within {100 * penalties.DRIFT:g} % of its law, mean over seeds",
        penalties.fresh_labels,
    ),
    Claim(
        "ch11.def.noise-reg.variance",
        "definition",
        "Chapter 11, definition of noise-induced regularization, its σ²; Cochran 1977, theorem 2.2",
        "The variance of a mini-batch's gradient follows from that of examples, and is none for all of them.",
        "variance of examples / B",
        f"traces within {100 * penalties.TRACE:g} % on the run's data, with and without replacement",
        penalties.batch_noise,
    ),
    Claim(
        "ch11.def.noise-reg.data",
        "required-control",
        "Ziyin, Liu, Mori & Ueda 2022",
        "SGD's variance on least squares of the run's data is that of the closed second moment.",
        None,
        f"variances along eigenvectors of H within {100 * penalties.TRACE:g} %, mean over seeds",
        penalties.data_covariance,
    ),
    Claim(
        "ch11.def.implicit-reg",
        "statistical",
        "Chapter 11, definition of implicit regularization",
        "SGD adds ασ²/(2T) times ‖θ‖²/2 to the loss; full batches on convex losses add nothing.",
        "λ = ασ²/(2T)",
        f"λ nearest to the mean end: without noise λαT below {penalties.NONE:g}; exponents in σ² and in "
        f"α above {penalties.HALF:g}",
        penalties.definition_of_implicit,
    ),
    Claim(
        "ch11.def.implicit-reg.formulas",
        "identity",
        "Chapter 11: definitions, their example, exercise B.15, appendix",
        "The chapter's formulas of the effective strength are of one quantity.",
        "ασ²/2T, σ²/2T, σ²/2α, σ²/αT, σ²/BαT, σ²/Bα",
        f"largest at most {penalties.AGREE:g} times the smallest at the same training",
        penalties.formulas_against_each_other,
        unit="decimal logarithm",
    ),
    Claim(
        "ch11.def.implicit-reg.modified-loss",
        "required-control",
        "Smith, Dherin, Barrett & De 2021, the modified loss",
        "Shuffled epochs descend on L + (η/4) mean ‖∇L_B‖²: to third order, to second with anything else.",
        "3 and 2",
        f"orders in η within {100 * penalties.ORDER:g} %",
        penalties.modified_losses,
    ),
)
