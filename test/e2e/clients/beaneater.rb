# beaneater from Debian (ruby-beaneater), unmodified. See jackd.js.
require 'beaneater'

$stdout.sync = true

def pass(seconds)
  puts "pass #{seconds}"
  $stdin.gets
end

def waiting(count)
  puts "waiting #{count}"
  $stdin.gets
end

def check(wanted, got, what)
  raise "#{what}: #{got.inspect}, expected #{wanted.inspect}" unless wanted == got
end

def refused(kind)
  yield
rescue kind
  nil
else
  raise "no #{kind}"
end

one = Beaneater.new("127.0.0.1:#{ARGV.fetch(0)}")
two = Beaneater.new("127.0.0.1:#{ARGV.fetch(0)}")
tube = one.tubes['ruby']
two.tubes.watch!('ruby')

put = tube.put('hello', pri: 5, ttr: 20)
check('INSERTED', put[:status], 'put')
job = two.tubes.reserve
check('hello', job.body, 'body')
check('ruby', job.tube, 'tube')
check(5, job.pri, 'priority')
check(20, job.ttr, 'time to run')
job.touch
job.release(pri: 7)
job = two.tubes.reserve
check(7, job.pri, 'priority after release')
job.bury
check('hello', tube.peek(:buried).body, 'peek buried')
tube.kick(3)
job = two.tubes.reserve
job.delete
refused(Beaneater::NotFoundError) { job.delete }
refused(Beaneater::TimedOutError) { two.tubes.reserve(0) }

tube.put('later', pri: 9)
tube.put('first', pri: 1)
check('first', tube.peek(:ready).body, 'peek ready')
check('first', two.tubes.reserve.body, 'priority')
check('later', two.tubes.reserve.body, 'priority')

tube.put('delayed', delay: 25)
check('delayed', tube.peek(:delayed).body, 'peek delayed')
got = Thread.new { two.tubes.reserve }
waiting(1)
pass(25)
check('delayed', got.value.body, 'a delayed job')

late = Thread.new { refused(Beaneater::TimedOutError) { two.tubes.reserve(6) } }
waiting(1)
pass(6)
late.value

tube.put('short', ttr: 3)
short = two.tubes.reserve
check('short', short.body, 'a short job')
soon = Thread.new { refused(Beaneater::DeadlineSoonError) { two.tubes.reserve } }
waiting(1)
pass(2)
soon.value
pass(1)
refused(Beaneater::NotFoundError) { short.touch }
short = two.tubes.reserve
check('short', short.body, 'the job that ran out of time')
short.delete

tube.pause(10)
tube.put('paused')
refused(Beaneater::TimedOutError) { two.tubes.reserve(0) }
pass(10)
check('paused', two.tubes.reserve.body, 'a job of a tube that was paused')

check('ruby', tube.stats.name, 'stats-tube')
check(true, one.stats.cmd_put >= 6, 'stats')
check(true, one.tubes.all.map(&:name).include?('ruby'), 'list-tubes')
check(['ruby'], two.tubes.watched.map(&:name), 'list-tubes-watched')
one.close
two.close
puts 'all done'
