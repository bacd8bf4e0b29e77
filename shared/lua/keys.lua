-- The names of all keys; shared/keys.py tells their types and lives.
--
-- KEYS[1]  prefix

local key = {
  sequence = KEYS[1] .. 'sequence',
  queues = KEYS[1] .. 'queues',
  leases = KEYS[1] .. 'leases',
  swept = KEYS[1] .. 'swept',
  cards = KEYS[1] .. 'cards',
  workers = KEYS[1] .. 'workers',
}
function key.job(id) return KEYS[1] .. 'job:' .. id end
function key.jobs(tenant) return KEYS[1] .. 'jobs:' .. tenant end
function key.open(tenant) return KEYS[1] .. 'open:' .. tenant end
function key.waiting(model) return KEYS[1] .. 'waiting:' .. model end
function key.claim(token) return KEYS[1] .. 'claim:' .. token end
function key.preview(id) return KEYS[1] .. 'preview:' .. id end
function key.card(model) return KEYS[1] .. 'card:' .. model end
function key.worker(id) return KEYS[1] .. 'worker:' .. id end
