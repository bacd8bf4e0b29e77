-- What is counted for those who watch the fleet, where it happens. shared/meters.py lists all there is, and how a field of
-- the hash is read; the labels stand in its order.
-- Stands on keys.

local FASTEST, SLOWEST = 4, 22 -- times are counted by doublings: up to 2 ** 4 ms, up to 2 ** 5 ms, ..., beyond 2 ** 22 ms

local function count(by, ...)
  redis.call('HINCRBY', key.meters, table.concat({...}, '|'), by)
end

local function count_time(ms, name, ...)
  ms = math.max(0, ms) -- clocks are set back at times
  local part, power = math.frexp(math.max(1, ms))
  if part == 0.5 then power = power - 1 end -- exactly 2 ** power, which is still within that bound
  count(1, name, math.max(FASTEST, math.min(power, SLOWEST + 1)) - FASTEST, ...)
  count(ms * 1000, name, 'sum', ...)
end
