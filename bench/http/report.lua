-- SPDX-License-Identifier: MIT
--
-- For wrk: several requests at once on a connection, if there is an argument, and the figures as
-- one line of JSON.
local depth = 1

function init(args)
   depth = tonumber(args[1] or "1")
   if depth > 1 then
      local one, all = wrk.format(), {}
      for i = 1, depth do all[i] = one end
      all = table.concat(all)
      request = function() return all end
   end
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format(
      '{"requests": %d, "duration_us": %d, "bytes": %d, "p50_us": %d, "p99_us": %d, '
      .. '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
      summary.requests, summary.duration, summary.bytes, latency:percentile(50),
      latency:percentile(99), e.connect, e.read, e.write, e.status, e.timeout))
end
