-- due: tell how many webhooks have something to be sent now.
-- With: keys, work, fair, outbox, record
--
-- KEYS[1]  prefix
--
-- Replies
--   OK webhooks
--
-- Moves nothing

return {'OK', redis.call('ZCOUNT', key.outbox, '-inf', now_ms())}
