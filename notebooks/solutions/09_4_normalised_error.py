def normalised_error(codes, wanted, spread):
    """Each code's squared distance from the wanted one (N, D), over the spread: (N,)."""
    return (codes - wanted).square().sum(1) / spread
