"""Floor 2: texts, images, videos and sounds as the arrays that pretrained encoders take.

It knows the folders that encoders come in, where their tokenizers and processors are, and nothing
of the encoders.
"""
