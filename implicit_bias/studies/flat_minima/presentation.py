"""How the flat-minima study is read: methods; its tables and figures are in modules of their own."""

from __future__ import annotations

from implicit_bias.studies.flat_minima.drawings import DRAWINGS as DRAWINGS
from implicit_bias.studies.flat_minima.tables import tables as tables

METHODS = """\
A seed decides the initial weights, the training and validation examples drawn from the pool, the order
of examples and all other draws, and the same seeds run in every arm: comparisons are paired by seed.
SGD's step size is chosen for each batch size and seed by validation error (ties by validation loss).
Arms with a penalty run every strength, at the step sizes named in the settings relative to SGD's; of
these runs the one of least validation error is compared. Test data enter no choice. Arms have equal
epochs, but for SGD with as many updates as the small batch, few examples (as many updates as the large
batch), and the published protocols. All but the arm fixed (without momentum) and the published protocols
use heavy ball with one momentum. Gradients per update say what an update costs.

SAM and ASAM take the gradient where the loss is higher (by ρ); the penalties add tr H or λmax of the
batch's Hessian to the loss, times a factor. The Hessian measured is that of the mean training loss, with
the labels that were trained on, over as many of the lane's training examples as the settings say: its
largest eigenvalues and its smallest by Lanczos, stopped on the residual or at the largest number of
products; its trace by random signs. Of a network with ReLUs it has a bulk of eigenvalues near zero, of
both signs, and exact zeros where an input is constant or a unit is never active: a quotient of the
largest and the smallest eigenvalue means nothing. Adaptive sharpness is the highest rise of the training
loss found at w + |w| u, ‖u‖₂ ≤ ρ, which no rescaling of ReLU layers changes.

Attacks know the network and move pixels, which lie in [0, 1], by at most ε: FGSM by one signed gradient
step, PGD by several from a random start; random signs of the same size are the control. Where a network
is so sure of a class that its loss is rounded to zero, the gradient hardly points anywhere and FGSM
fails: of the two attacks, the stronger one tells more. Certified radii are output margins over a bound
of the network's slope from the spectral norms of its layers, zero where the network errs.

Poisoned minima start where the plain ones do and are trained by the same full-batch descent, on the same
examples and on others with wrong labels, until the loss over the clean examples is as low. Guessed
networks are random ReLU networks that happen to fit a few examples of two classes; each is held against
a network trained until its normalised loss is the same, whether or not that fits every example; both
have layers of the same lengths."""
