def normalised_error(found, wanted, spread):
    """Each found code's squared distance from the wanted one (N, D), over the spread: (N,)."""
    return (found - wanted).square().sum(1) / spread
