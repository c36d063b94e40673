"""Four derived views of scikit-learn's 1797 digit images: the demo, on a laptop's CPU in a minute.

Row and column sums, two diagonal projections, Fourier magnitudes and gradient orientations of the
same 8 x 8 pixels: GRAM, with every view as the anchor in turn.
"""

from gramalign.training import TERMS, Config, Model, Optimizer, Siglip, Tempered

# A learned temperature falls until the 1447 training rows are known by heart; fixed, and with much
# dropout, it leaves something to generalise. SigLIP's published start is too high to stay there.
FIXED = {
    name: term(learn_temperature=False)
    for name, term in TERMS.items()
    if issubclass(term, Tempered)
} | {"siglip": Siglip(temperature=0.05, learn_temperature=False)}

config = Config(
    data="digits",
    objective="gram",
    settings=FIXED,
    model=Model(dim=64, hidden=512, dropout=0.4),
    optimizer=Optimizer(learning_rate=2e-3, warmup=100, weight_decay=1e-2),
    batch_size=256,
    steps=1000,
)
