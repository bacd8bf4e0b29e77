-- recall_batch: find the batch of an idempotency key.
--
-- KEYS[1]  prefix
-- ARGV[1]  tenant
-- ARGV[2]  digest of the idempotency key
-- ARGV[3]  fingerprint of the request
--
-- Replies
--   OK batch
--   NONE          the key has not come yet, or its batch is gone
--   MISMATCH      the key came with another request before
--
-- Flags allow-oom
-- Moves nothing

local before, is_same = recalled('batch', ARGV[1], ARGV[2], ARGV[3])
if not before then return {'NONE'} end
if not is_same then return {'MISMATCH'} end
return {'OK', describe_batch(before)}
