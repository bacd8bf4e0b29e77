-- due: tell how many webhooks have something to be sent now.
--
-- KEYS[1]  prefix
--
-- Replies
--   OK webhooks
--
-- Flags no-writes
-- Moves nothing

return {'OK', redis.call('ZCOUNT', key.outbox, '-inf', now_ms())}
