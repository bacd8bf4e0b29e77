-- orphans: tell which of these jobs nobody has any more: neither they themselves nor one that shows their pictures.
--
-- KEYS[1]  prefix
-- ARGV[1...]  job ids, as the keys of pictures name them
--
-- Replies
--   OK ids
--
-- Flags no-writes
-- Moves nothing

local ids = {}
for _, id in ipairs(ARGV) do
  if redis.call('EXISTS', key.job(id), key.holders(id)) == 0 then ids[#ids + 1] = id end
end
return {'OK', ids}
