"""Four derived views of scikit-learn's 1797 digit images: the demo, on a laptop's CPU in a minute.

Row and column sums, two diagonal projections, Fourier magnitudes and gradient orientations of the
same 8 x 8 pixels: GRAM, with every view as the anchor in turn.
"""

from gramalign.training import Config

# The defaults, which were chosen here, on rows held out of the training part.
config = Config(data="digits", objective="gram")
