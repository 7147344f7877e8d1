"""The studies of "Gradient Flow in Sparse Neural Networks and How Lottery Tickets Win", run again."""
