-- parts: tell which parts live.
--
-- KEYS[1]  prefix
--
-- Replies
--   OK parts      JSON
--
-- Flags no-writes
-- Moves nothing

return {'OK', redis.call('ZRANGE', key.parts, now_ms(), '+inf', 'BYSCORE')}
