#!/usr/bin/env ruby
# Does work that fails now and then, and asks to be run again later: at most three times.
rq = IO.new(3, 'w')
rq.sync = true

attempt = ENV['RQ_COUNT'].to_i
rq.puts "run try number #{attempt + 1}"
if attempt < ENV['RQ_PARAM1'].to_i
  puts 'nobody answers'
  rq.puts "resend #{ENV.fetch('RQ_PARAM2', '10')}-nobody answers"
else
  rq.puts "done after #{attempt + 1} tries"
end
