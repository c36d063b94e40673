"""Four derived views of scikit-learn's 1797 digit images: the demo, on a laptop's CPU in a minute.

Row and column sums, two diagonal projections, Fourier magnitudes and gradient orientations of the
same 8 x 8 pixels: GRAM, with every view as the anchor in turn.
"""

from gramalign.training import Config

# The defaults. A learned temperature would fall until the 1447 training rows are known by heart;
# fixed, and with much dropout, it leaves something to generalise.
config = Config(data="digits", objective="gram")
