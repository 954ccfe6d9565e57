# SPDX-License-Identifier: MIT
#
# For the tests of examples/httpd: the server with its files, and peers.
package httpd_rig;
use strict;
use warnings;
use Cwd ();
use Exporter 'import';
use File::Temp ();
use IO::Handle;
use IO::Select;
use POSIX ();
use Socket qw(:DEFAULT SO_LINGER IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(sleep time);

our @EXPORT = qw(plan ok is like start stop ended server_pid server_port server_fds server_kb
        server_cpu eventually settled connection reset_connection receive at_end send_all exchange
        converse answer status field alive curl url lay $slow $seed $work %bytes %size);
our ($slow, $seed) = ($ENV{SAN} ? 10 : 1, int($ENV{TAP_SEED} // time ^ $$));
our $work = File::Temp->newdir;
our %size = ('empty' => 0, 'small.html' => 1000, 'kept.txt' => 16384, 'more.bin' => 16385,
        'out.bin' => 65536, 'big.bin' => 5_000_000);
our %bytes;

my $server = Cwd::abs_path(($ENV{BUILD} // 'build') . '/examples/httpd');
my $root = "$work/root";
my ($count, $failed, $pid, $port) = (0, 0);

# Says how many checks there will be, or why there are none.
sub plan {
        my ($checks, @tools) = @_;
        my @missing = grep { system "command -v $_ >/dev/null" } @tools;
        unshift @missing, 'examples/httpd' if !$server || !-x $server;
        if (@missing) {
                print "1..0 # SKIP there is no $missing[0]\n";
                exit 0;
        }
        print "1..$checks\n# seed $seed\n";
        srand $seed;
        $SIG{PIPE} = 'IGNORE';
        $SIG{ALRM} = sub { print "Bail out! it takes too long\n"; exit 3 };
        alarm 200 * $slow;
        chmod 0755, $work;
        lay_files();
}

END {
        kill KILL => $pid if $pid;
        $? ||= $failed;
}

sub ok {
        my ($right, $text, $why) = @_;
        $count++;
        $failed ||= !$right;
        print $right ? '' : 'not ', "ok $count - $text\n";
        print "# $why\n" =~ s/\n(?=.)/\n# /gr if !$right && defined $why;
}

sub is {
        my ($got, $wanted, $text) = @_;
        ok(defined $got && $got eq $wanted, $text,
                'got ' . substr($got // 'nothing', 0, 300) . ', wanted ' . substr $wanted, 0, 300);
}

sub like {
        my ($got, $pattern, $text) = @_;
        ok(scalar($got =~ $pattern), $text, 'got ' . substr $got, 0, 300);
}

# ------------------------------------------------------------------ the files

sub lay {
        my ($name, $bytes) = @_;
        open my $out, '>:raw', "$work/$name" or die "$name: $!";
        print $out $bytes;
        close $out;
}

sub random_bytes {
        my $bytes = shift;
        open my $in, '<:raw', '/dev/urandom' or die "urandom: $!";
        read($in, my $data, $bytes);
        return $data;
}

sub lay_files {
        mkdir "$work/$_" for 'root', 'root/dir', 'root/dir/sub', 'root/list', 'root/list/sub';
        for (sort keys %size) {
                $bytes{$_} = random_bytes($size{$_});
                lay("root/$_", $bytes{$_});
        }
        lay('root/dir/index.html', 'the index');
        lay('root/a b+c%.txt', 'odd name');
        lay("root/list/<b>&\"'.txt", 'odder name');
        lay("root/list/file$_", $_) for 1 .. 500;
        lay('secret', 'the secret');
        symlink '../secret', "$root/out-link";
        symlink "$work", "$root/out-folder";
        symlink 'small.html', "$root/in-link";
        POSIX::mkfifo("$root/fifo", 0644);
}

# ------------------------------------------------------------------ the server

sub start { # start(most descriptors or 0, option...): when it returns, it listens
        my ($files, @options) = @_;
        my $limit = $files ? "ulimit -n $files; " : '';
        pipe(my $out, my $in) or die "pipe: $!";
        $pid = fork // die "fork: $!";
        if (!$pid) {
                open STDOUT, '>&', $in;
                open STDERR, '>>', "$work/errors";
                exec 'sh', '-c', $limit . 'exec "$@"', 'sh', $server, '-d', $root, '-p', 0,
                        '-t', 20, '-l', "$work/log", @options;
                die "exec: $!";
        }
        close $in;
        my $line = <$out> // '';
        ($port) = $line =~ m{^http://127\.0\.0\.1:(\d+)/$}
                or die "not ok - the server does not start: $line\n";
}

sub ended { # its exit status, or -1 if it does not end
        for (1 .. 300 * $slow) {
                if (waitpid $pid, POSIX::WNOHANG()) {
                        undef $pid;
                        return $?;
                }
                sleep 0.02;
        }
        return -1;
}

sub stop {
        kill TERM => $pid;
        return ended();
}

sub server_pid { $pid }

sub server_port { $port }

sub server_fds { # connections and files; each worker keeps some of its own, too
        return scalar(grep { (readlink $_ // '') =~ m{^socket:|/root/} } glob "/proc/$pid/fd/*");
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

sub eventually { # until it holds, for as long as something may take that is to happen soon
        my $what = shift;
        for (1 .. 500 * $slow) {
                return 1 if $what->();
                sleep 0.02;
        }
        return 0;
}

sub settled { # it has closed all but so many
        my $wanted = shift;
        return eventually(sub { server_fds() <= $wanted });
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

sub receive { # receive(socket, pattern or undef): until it matches, else until the end
        my ($s, $until) = @_;
        my ($data, $select) = ('', IO::Select->new($s));
        while (!defined $until || $data !~ $until) {
                last unless $select->can_read(10 * $slow);
                last unless sysread $s, $data, 1 << 20, length $data;
        }
        return $data;
}

sub at_end { # the server has closed it
        my $s = shift;
        my $data;
        return IO::Select->new($s)->can_read(10 * $slow) && !sysread $s, $data, 100;
}

sub send_all {
        my ($s, $data) = @_;
        for (my $sent = 0; $sent < length $data;) {
                $sent += syswrite($s, $data, length($data) - $sent, $sent) // return 0;
        }
        return 1;
}

sub exchange { # all that comes for these bytes until the server ends it
        my ($bytes) = @_;
        my $s = connection();
        send_all($s, $bytes);
        return receive($s);
}

sub answer { # (status, head, body) for a target and more lines of the head
        my ($target, @lines) = @_;
        my $method = $target =~ s/^([A-Z]+) // ? $1 : 'GET';
        my $all = exchange(join "\r\n", "$method $target HTTP/1.1", 'Host: localhost', @lines,
                'Connection: close', '', '');
        my ($head, $body) = split /\r\n\r\n/, $all, 2;
        my ($status) = ($head // '') =~ m{^HTTP/1\.1 (\d+) };
        return ($status // 0, $head // '', $body // '');
}

sub status { (answer(@_))[0] }

sub field { # of a head
        my ($head, $name) = @_;
        return $head =~ /^\Q$name\E: (.*?)\r?$/mi ? $1 : '';
}

sub alive { # and as it should be
        my ($status, $head, $body) = answer('/small.html');
        return $status == 200 && $body eq $bytes{'small.html'};
}

sub curl { # what it prints, and its exit status
        my @words = ('curl', '-s', '--max-time', 20 * $slow, '--path-as-is', @_);
        open my $in, '-|', @words or die "curl: $!";
        binmode $in;
        local $/;
        my $out = <$in> // '';
        close $in;
        return wantarray ? ($out, $? >> 8) : $out;
}

sub url { "http://127.0.0.1:$port/" . ($_[0] // '') }

# Sends these bytes in parts while it takes what comes, until the server ends it.
sub converse {
        my $data = shift;
        my ($s, $sent, $got) = (connection(), 0, '');
        my ($in, $out) = (IO::Select->new($s), IO::Select->new($s));
        $s->blocking(0);
        while (my ($can_read, $can_write) =
                IO::Select->select($in, $sent < length $data ? $out : undef, undef, 10 * $slow)) {
                if (@$can_write) {
                        $sent += syswrite($s, $data, 1 + int rand 3000, $sent) // 0;
                }
                next unless @$can_read;
                my $n = sysread $s, $got, 1 << 16, length $got;
                last if defined $n && !$n;
        }
        return $got;
}

1;
