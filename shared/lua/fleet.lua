-- fleet: tell which models are known, last served first, and which workers live; forget the rest.
-- With: keys
--
-- KEYS[1]  prefix
--
-- Replies
--   OK cards workers   JSON, each
--
-- Moves nothing

local function living(index, name)
  local found = {}
  for _, member in ipairs(redis.call('ZRANGE', index, 0, -1, 'REV')) do
    local word = redis.call('GET', name(member))
    if word then found[#found + 1] = word else redis.call('ZREM', index, member) end
  end
  return found
end

return {'OK', living(key.cards, key.card), living(key.workers, key.worker)}
