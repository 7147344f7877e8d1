"""Parts: the weights of a method with their masks in force, without a Trainer."""
