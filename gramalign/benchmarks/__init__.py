"""Floor 5: speed, memory and accuracy of the losses, measured beside the published code."""
