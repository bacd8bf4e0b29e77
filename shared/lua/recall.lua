-- recall: find the job of an idempotency key, before anything else is asked about a request that may be a repeated one.
--
-- KEYS[1]  prefix
-- ARGV[1]  tenant
-- ARGV[2]  digest of the idempotency key
-- ARGV[3]  fingerprint of the request's body
--
-- Replies
--   OK job        it came before, with this body
--   MISMATCH      it came before, with another body
--   NONE          it has not come (yet), or its job is forgotten
--
-- Flags allow-oom
-- Moves nothing

local before, is_same = recalled('job', ARGV[1], ARGV[2], ARGV[3])
if not before then return {'NONE'} end
if not is_same then return {'MISMATCH'} end
return {'OK', describe(before)}
