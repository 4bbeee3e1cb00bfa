-- wrk's part of the harness: optional unique paths, and a result that a program can read.
-- Arguments after `--`: none for one fixed path; or a prefix below which every request asks for its own path; or a prefix
-- and a number, for so many paths in turn.
-- Headers come by -H. A request function is defined only where it is needed: without one wrk sends a prepared buffer.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  if not args[1] then return end
  local cycle = tonumber(args[2])
  local prefix = cycle and args[1] or args[1] .. number .. "-"
  local tail = string.sub(wrk.format("GET", "/"), 6)
  local sent = 0
  request = function()
    sent = sent + 1
    if cycle and sent >= cycle then sent = 0 end
    return "GET " .. prefix .. sent .. tail
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"bytes":%d,"duration_us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.bytes, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
