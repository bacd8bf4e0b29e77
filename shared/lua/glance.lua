-- glance: tell in short how jobs stand, for those who know the rest of them.
--
-- KEYS[1]  prefix
-- ARGV[1...]  job ids
--
-- Replies
--   OK stands     for each job version, denoising step, place among the waiting or -1, jobs ahead in its lane, their ms of
--                 work, what holds it or ''; an empty one if there is no such job
--
-- Flags no-writes
-- Moves nothing

local stands = {}
for at, id in ipairs(ARGV) do
  local version = field(id, 'version')
  if version then
    local place, jobs, work, held, step = stand_of(id)
    stands[at] = {tonumber(version), tonumber(step), place, jobs, work, held}
  else
    stands[at] = {}
  end
end
return {'OK', stands}
