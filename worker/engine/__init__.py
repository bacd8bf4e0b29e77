"""Draws pictures: one denoising step at a time, many rows at once. Knows nothing of Redis, HTTP or S3.

    source = choose_source(settings.model, cache_dir=settings.model_cache)   # worker.engine.source
    card = card_of(source)                                                   # worker.engine.card, no torch
    model = load_model(fetch(source, settings.model_cache), card)            # worker.engine.model
    engine = Engine(model)                                                   # worker.engine.engine
    warm(engine)                                                             # worker.engine.warmup
    engine.admit(row_id, params, index)
    while not engine.is_idle:
        for event in engine.step():                                          # worker.engine.events
            ...

One thread builds an engine, warms it and runs it: a pipeline is not thread-safe (diffusers issue 7851). The VAE runs in
the decoder's thread, a preview's linear map in that of who looks.
Import from the modules: this package imports nothing, so that `source` and `card` come without torch.
"""
