"""Human poses: the estimator that is trained, its heatmaps and decoders, and the scores of what it finds."""
