-- discard: take objects that the store no longer has off the list, those of them whose time had come.
--
-- KEYS[1]  prefix
-- ARGV[1...]  keys of objects
--
-- Replies
--   OK
--
-- Flags allow-oom
-- Moves nothing

local now = now_ms()
for _, object in ipairs(ARGV) do
  local due = redis.call('ZSCORE', key.trash, object)
  if due and tonumber(due) <= now then redis.call('ZREM', key.trash, object) end
end
return {'OK'}
