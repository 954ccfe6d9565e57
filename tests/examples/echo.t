#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# examples/echo and examples/echo-await against peers of all kinds: many at once, half-closed,
# reset, silent, not reading, more than there are descriptors, thousands one after the other; and
# their end on SIGTERM. TAP on stdout. BUILD: the build folder. SOAK_SECONDS: only connections that
# come and go, for so long, by the load generator.
use strict;
use warnings;
use Errno qw(EAGAIN EINTR);
use IO::Handle;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Socket qw(:DEFAULT SO_LINGER IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(sleep time);

my $slow = $ENV{SAN} ? 10 : 1;
my $folder = ($ENV{BUILD} // 'build') . '/examples';
my $server = "$folder/echo";
# The thread sanitizer takes it for a race of memory that a worker closes a descriptor while another
# takes its number off an epoll set of its own, which then has it no more.
my $epoll_workers = ($ENV{SAN} // '') =~ /thread/ ? 1 : 2;
my @modes = (['echo', '-w', 1], ['echo', '-w', 4], ['echo', '-w', $epoll_workers, '-n'],
             ['echo-await', '-w', 1], ['echo-await', '-w', 4],
             ['echo-await', '-w', $epoll_workers, '-n']);
my ($CONNECTIONS, $BYTES, $CHURN, $BUFFERS) = (60, 100_000, 2000, 256);
my ($count, $failed, $pid, $port) = (0, 0);

if (!-x $server) {
        print "1..0 # SKIP $server is not built\n";
        exit 0;
}
$SIG{PIPE} = 'IGNORE';
$SIG{ALRM} = sub { kill KILL => $pid if $pid; die "not ok - took too long\n" };
alarm 60 * $slow + 60;
END { kill KILL => $pid if $pid }

sub ok {
        my ($right, $text, $why) = @_;
        $count++;
        $failed ||= !$right;
        print $right ? '' : 'not ', "ok $count - $text\n";
        print "# $why\n" if !$right && defined $why;
}

# ------------------------------------------------------------------ the server

sub start { # start(most descriptors or 0, option...): when it returns, it listens
        my ($files, @options) = @_;
        my $free = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "listen: $!";
        $port = $free->sockport;
        close $free;
        $pid = fork // die "fork: $!";
        if (!$pid) {
                my $limit = $files ? "ulimit -n $files; " : '';
                exec 'sh', '-c', $limit . 'exec "$@"', 'sh', $server, @options, $port or die "$!";
        }
        for (1 .. 100 * $slow) {
                my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
                return close $s if $s;
                sleep 0.05;
        }
        die "not ok - the server does not listen\n";
}

sub stop { # its exit status, or -1 if it does not end
        kill TERM => $pid;
        for (1 .. 100 * $slow) {
                if (waitpid $pid, POSIX::WNOHANG()) {
                        undef $pid;
                        return $?;
                }
                sleep 0.05;
        }
        return -1;
}

sub server_fds {
        opendir my $dir, "/proc/$pid/fd" or die "/proc/$pid/fd: $!";
        return scalar(grep { !/^\./ } readdir $dir);
}

sub server_sockets {
        opendir my $dir, "/proc/$pid/fd" or die "/proc/$pid/fd: $!";
        return scalar(grep { (readlink "/proc/$pid/fd/$_" // '') =~ /^socket:/ } readdir $dir);
}

sub server_kb { # resident
        open my $in, '<', "/proc/$pid/status" or die "status: $!";
        while (<$in>) { return $1 if /^VmRSS:\s+(\d+)/ }
}

sub server_cpu { # seconds
        open my $in, '<', "/proc/$pid/stat" or die "stat: $!";
        my @field = split ' ', <$in> =~ s/.*\) //r;
        return ($field[11] + $field[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# Waits until it has closed all but so many.
sub settled {
        my $wanted = shift;
        for (1 .. 100 * $slow) {
                return 1 if server_fds() <= $wanted;
                sleep 0.02;
        }
        return 0;
}

# ------------------------------------------------------------------ peers

sub connection {
        socket my $s, PF_INET, SOCK_STREAM, 0 or die "not ok - socket: $!\n";
        connect $s, pack_sockaddr_in($port, INADDR_LOOPBACK) or die "not ok - connect: $!\n";
        setsockopt $s, IPPROTO_TCP, TCP_NODELAY, 1;
        return $s;
}

sub reset_connection { # closes it with a RST
        my $s = shift;
        setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
        close $s;
}

sub random_bytes {
        my $bytes = shift;
        open my $in, '<:raw', '/dev/urandom' or die "urandom: $!";
        read($in, my $data, $bytes);
        return $data;
}

sub receive { # receive(socket, bytes): so many, or what came before the end or a pause of 5 s
        my ($s, $bytes) = @_;
        my ($data, $select) = ('', IO::Select->new($s));
        while (length $data < $bytes) {
                last unless $select->can_read(5 * $slow);
                last unless sysread $s, $data, $bytes - length $data, length $data;
        }
        return $data;
}

sub echoes { # echoes(socket, data): one after the other
        my ($s, $data) = @_;
        return defined syswrite($s, $data) && receive($s, length $data) eq $data;
}

# Sends without waiting until nothing more goes out for a while, at most so much.
sub stuff {
        my ($s, $data, $most) = @_;
        my ($sent, $select) = (0, IO::Select->new($s));
        $s->blocking(0);
        while ($sent < $most && $select->can_write(0.3)) {
                my $from = $sent % length $data;
                my $n = syswrite $s, $data, length($data) - $from, $from;
                $sent += $n // 0;
                last unless defined $n || $! == EAGAIN;
        }
        $s->blocking(1);
        return $sent;
}

# ------------------------------------------------------------------ what is checked

sub many_at_once {
        my $data = random_bytes($BYTES);
        my ($readers, $writers) = (IO::Select->new, IO::Select->new);
        my (%sent, %got);
        for (1 .. $CONNECTIONS) {
                my $s = connection();
                $s->blocking(0);
                $_->add($s) for $readers, $writers;
                ($sent{$s}, $got{$s}) = (0, '');
        }
        while ($readers->count) {
                my ($in, $out) = IO::Select->select($readers, $writers, undef, 5 * $slow) or last;
                for my $s (@$out) {
                        $sent{$s} += syswrite($s, $data, 1 + int rand 9000, $sent{$s}) // 0;
                        $writers->remove($s) if $sent{$s} == $BYTES;
                }
                for my $s (@$in) {
                        my $n = sysread $s, $got{$s}, 65536, length $got{$s};
                        $readers->remove($s) if length $got{$s} == $BYTES || defined $n && !$n;
                }
        }
        return !grep { $_ ne $data } values %got;
}

sub half_closed { # all that was sent before comes back, also what the server has not sent yet
        my $data = random_bytes(1_000_000);
        my $s = connection();
        my $sent = stuff($s, $data, 64_000_000);
        shutdown $s, 1;
        my $back = receive($s, $sent + 1);
        return length $back == $sent && $back eq substr $data x (1 + $sent / 1_000_000), 0, $sent;
}

sub resets {
        my $before = shift;
        for my $i (1 .. 50) {
                my $s = connection();
                syswrite $s, 'x' x (1000 * $i);
                reset_connection($s);
        }
        return settled($before) && echoes(connection(), 'after the resets');
}

sub not_reading {
        my $data = random_bytes(1_000_000);
        my ($s, $kb) = (connection(), server_kb());
        my $sent = stuff($s, $data, 64_000_000);
        my $others = echoes(connection(), 'meanwhile');
        my $grown = server_kb() - $kb;
        my $expected = $data x (1 + $sent / length $data);
        my $back = receive($s, $sent) eq substr $expected, 0, $sent;
        ok($sent < 64_000_000, 'a peer that does not read is held up', "sent $sent");
        ok($others, 'the others are served');
        ok($slow > 1 || $grown < 16_384, 'memory is bounded', "grown by $grown kB");
        ok($back && echoes($s, 'more'), 'when it reads, all is there, and it goes on');
}

# Opens and closes so many, a few at a time: some after an exchange, some silent, some by a reset
# with an echo under way. How many got a wrong answer.
sub churn {
        my ($connections, $wrong) = (shift, 0);
        for (my $done = 0; $done < $connections; $done += 20) {
                my @some = map { connection() } 1 .. 20;
                syswrite $some[$_], "connection $_" for 0 .. 14;
                $wrong += receive($some[$_], length "connection $_") ne "connection $_" for 0 .. 9;
                reset_connection($some[$_]) for 5 .. 17;
        }
        return $wrong;
}

sub in_mode {
        my @options = @_;
        my $mode = ($server =~ s/.*\///r) . " @options";

        start(0, @options);
        ok(echoes(connection(), 'hello'), "$mode: echo");
        ok(many_at_once(), "$mode: random bytes on $CONNECTIONS connections");
        ok(half_closed(), "$mode: a half-closed connection gets all of its echo");
        sleep 0.1;
        my $fds = server_fds();
        ok(resets($fds), "$mode: peers that reset");
        not_reading();
        my $wrong = churn($CHURN / 2);
        settled($fds);
        my $kb = server_kb();
        $wrong += churn($CHURN / 2);
        ok(!$wrong, "$mode: $CHURN connections, one after the other", "$wrong wrong");
        ok(settled($fds), "$mode: none is left", server_fds() . " descriptors, before $fds");
        my $grown = server_kb() - $kb;
        # Pages of buffers that are needed for the first time count, a leak at each connection more.
        ok($slow > 1 || $grown < 1536, "$mode: memory does not grow", "$grown kB");
        my @silent = map { connection() } 1 .. 20;
        stuff($silent[0], 'x' x 100_000, 20_000_000);
        my $status = stop();
        ok($status == 0, "$mode: SIGTERM with connections: status 0", "status $status");
}

# More connections than descriptors: they wait, at no cost, until others have gone.
sub without_descriptors {
        my @options = @_;

        start(64, @options);
        my @all = map { connection() } 1 .. 100;
        sleep 0.3;
        my $before = server_cpu();
        sleep 1;
        my $took = server_cpu() - $before;
        ok($took < 0.3, "@options: without descriptors it does not spin", "$took s of CPU");
        ok(echoes($all[0], 'still'), "@options: those that are there are served");
        close $_ for splice @all, 0, 80;
        ok(echoes($all[19], 'then'), "@options: those that waited are served then");
        ok(echoes(connection(), 'new'), "@options: new ones, too");
        @all = ();
        ok(stop() == 0, "@options: status 0");
}

# What the kernel has of the rings' operations: each line of their fdinfo is one.
sub server_operations {
        my $lines = 0;
        for my $fd (glob "/proc/$pid/fd/*") {
                next unless (readlink $fd // '') =~ /io_uring/;
                open my $in, '<', $fd =~ s/fd/fdinfo/r or next;
                $lines += grep { /op=|user_data=/ && !/op=6,/ } <$in>; # not the sentinel's polls
        }
        return $lines;
}

# Not before the kernel and the server's memory have seen what they keep for the next connection.
sub soak {
        my $seconds = shift;
        my ($done, $wrong, $workers, $step) = (0, 0, 2, 50_000);
        my $go = sub {
                $wrong ||= system("build/load/load --churn=$step $port >/dev/null");
                $done += $step;
                printf "# %d connections: %d kB\n", $done, server_kb() if $done % 1_000_000 == 0;
        };

        start(0, '-w', $workers);
        $go->();
        # It listens before it has made its rings, so that its descriptors are not counted before.
        for (1 .. 100 * $slow) {
                last if server_sockets() == 1;
                sleep 0.05;
        }
        my $fds = server_fds();
        my ($kb, $operations) = (server_kb(), server_operations());
        my ($begin, $now) = (time, 0);
        for ($now = $begin; $now < $begin + $seconds && !$wrong; $now = time) {
                $go->();
        }
        my $rate = ($done - $step) / ($now - $begin);
        ok(!$wrong, sprintf('%d connections, %.0f per second', $done, $rate), "status $wrong");
        ok(settled($fds), 'no descriptor is left', server_fds() . ", before $fds");
        my $grown = server_kb() - $kb;
        # A buffer's first page is there when it has been used, which may be late for some.
        my $pages = 4 * $BUFFERS * $workers;
        ok($slow > 1 || $grown < 512 + $pages, "memory: $kb kB, grown by $grown kB");
        my $more = server_operations() - $operations;
        ok($more <= 0, "operations in the kernel: $operations, $more more");
        ok(stop() == 0, 'status 0');
}

if (my $seconds = $ENV{SOAK_SECONDS}) {
        alarm $seconds + 120 * $slow;
        $| = 1;
        print "1..5\n";
        soak($seconds);
        exit $failed;
}
print '1..', @modes * (12 + 5), "\n";
for my $mode (@modes) {
        my ($name, @options) = @$mode;
        $server = "$folder/$name";
        in_mode(@options);
        without_descriptors(@options);
}
exit $failed;
