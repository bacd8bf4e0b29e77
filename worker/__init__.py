"""What runs beside a GPU: the shift that takes jobs, the engine that draws, the delivery."""
