#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# examples/httpd and peers that mean no good, or have bad luck: malformed requests, thousands of
# mutated ones, ways out of the root, slow clients, resets, more than there are descriptors; and its
# end on SIGTERM. TAP on stdout. BUILD: the build folder. TAP_SEED: replays.
use strict;
use warnings;
use FindBin;
use IO::Select;
use Time::HiRes qw(sleep time);
use lib $FindBin::Bin;
use httpd_rig;

my @modes = (['-w', 1], ['-w', 4], ['-w', 2, '-n']);
my ($MUTANTS, $CHURN) = (2000, 1000);

sub get { "GET $_[0] HTTP/1.1\r\nHost: a\r\n\r\n" }

# ------------------------------------------------------------------ what is refused

sub bad_requests {
        my $host = "Host: a\r\n";
        my $long = 'x' x 5000;
        my @cases = (
                [400, "GET / HTTP/1.1\r\n\r\n", 'no host'],
                [400, "GET / HTTP/1.1\r\n$host$host\r\n", 'two hosts'],
                [400, "GET  HTTP/1.1\r\n$host\r\n", 'no target'],
                [400, "GET /a b HTTP/1.1\r\n$host\r\n", 'a blank in the target'],
                [400, "GET / HTTP/1.1\r\nNo colon\r\n\r\n", 'a field without a colon'],
                [400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 'a blank before the colon'],
                [400, "\x00\x01\x02\r\n\r\n", 'control characters'],
                [400, "\x16\x03\x01\x02\x00\x01\x00", 'TLS'],
                [400, "get / HTTP/1.1\r\n$host\r\n", 'small letters'],
                [400, "GET /%zz HTTP/1.1\r\n${host}Connection: close\r\n\r\n", 'no number after %'],
                [400, "GET /% HTTP/1.1\r\n${host}Connection: close\r\n\r\n", 'nothing after %'],
                [400, "GET /a%00b HTTP/1.1\r\n${host}Connection: close\r\n\r\n",
                        'a zero in the name'],
                [400, "GET / HTTP/1.1\r\n${host}Content-Length: x\r\n\r\n",
                        'a length that is none'],
                [400, "GET / HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
                        'two lengths'],
                [400, "GET / HTTP/1.1\r\n${host}Content-Length: 1\r\nTransfer-Encoding: chunked"
                        . "\r\n\r\n0\r\n\r\n", 'length and chunks'],
                [405, "POST / HTTP/1.1\r\n${host}Content-Length: 3\r\n\r\nabc", 'POST'],
                [405, "OPTIONS * HTTP/1.1\r\n${host}Connection: close\r\n\r\n", 'OPTIONS'],
                [413, "GET / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                        'GET with a body'],
                [413, "GET / HTTP/1.1\r\n${host}Content-Length: 99999999999\r\n"
                        . "Expect: 100-continue\r\n\r\n", 'a body that waits'],
                [414, "GET /$long HTTP/1.1\r\n$host\r\n", 'a long target'],
                [431, "GET / HTTP/1.1\r\n${host}X: $long\r\nY: $long\r\n\r\n", 'long fields'],
                [501, "FETCH / HTTP/1.1\r\n$host\r\n", 'a method of its own'],
                [505, "GET / HTTP/2.0\r\n$host\r\n", 'another version'],
        );
        for my $case (@cases) {
                my ($wanted, $bytes, $text) = @$case;
                my ($status) = exchange($bytes)
                        =~ m{^HTTP/1\.1 (\d+) [^\n]*\n.*\r\nConnection: close\r}s;
                is($status, $wanted, "$text: $wanted");
        }
        my $s = connection();
        send_all($s, "GET /none HTTP/1.1\r\n$host\r\nGET /dir HTTP/1.1\r\n$host\r\n"
                . "HEAD /dir/sub/ HTTP/1.1\r\n$host\r\nGET /dir/ HTTP/1.1\r\n$host\r\n");
        my @statuses = receive($s, qr/the index$/) =~ m{^HTTP/1\.1 (\d+) }gm;
        is("@statuses", '404 301 403 200', 'after what is only not there it goes on');
        $s = connection();
        my $sent = send_all($s, get('/dir/') . "GARBAGE\r\n\r\n" . 'x' x 300_000);
        my ($both, $n) = ('');
        1 while $n = sysread $s, $both, 1 << 16, length $both;
        is(join(' ', $both =~ m{HTTP/1\.1 (\d+) }g), '200 501', 'both answers come');
        ok($sent && defined $n, 'and no reset, though much was left unread');
}

# Lines of requests with bytes changed, left out, doubled and cut off: whatever comes back is an
# answer, and the server goes on.
sub mutated_requests {
        my @seeds = (
                "GET /small.html HTTP/1.1\r\nHost: localhost\r\nRange: bytes=1-2\r\n\r\n",
                "HEAD /dir/%69ndex.html?a=b HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"a\"\r\n\r\n",
                "GET /list/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                "POST http://a:1/../x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                        . "5\r\nhello\r\n0\r\n\r\n",
        );
        my ($wrong, $first) = (0, '');
        for (1 .. $MUTANTS) {
                my $bytes = $seeds[rand @seeds] . ($_ % 3 ? '' : $seeds[rand @seeds]);
                for (0 .. int rand 4) {
                        my ($at, $how) = (int rand length $bytes, int rand 5);
                        my $length = 1 + int rand 8;
                        if ($how == 0) { substr $bytes, $at, 1, chr int rand 256 }
                        elsif ($how == 1) { substr $bytes, $at, $length, '' }
                        elsif ($how == 2) { substr $bytes, $at, 0, substr $bytes, $at, $length }
                        elsif ($how == 3) { substr $bytes, $at, 0, "\r\n" }
                        else { substr $bytes, $at, 1, ('%', '/', ' ', ':', "\0", '..')[rand 6] }
                }
                my $s = connection();
                send_all($s, $bytes);
                shutdown $s, 1;
                my $got = receive($s);
                next if $got =~ m{^(?:HTTP/1\.1 [2345]\d\d |$)} && $got !~ /the secret/;
                $first ||= "$bytes\n gave\n$got";
                $wrong++;
        }
        ok(!$wrong, "$MUTANTS mutated requests, seed $seed", "$wrong wrong: $first");
        ok(alive(), 'it goes on');
}

sub ways_out {
        my @targets = ('/../secret', '/dir/../../secret', '/%2e%2e/secret', '/..%2fsecret',
                '/dir/..%2f..%2fsecret', '/out-link', '/out-folder/secret', '//../secret', '/..',
                '/.//..//secret', '/%2fetc/passwd', '//etc/passwd', '/dir/sub/../../../secret',
                '/out-folder/', "http://a/../secret", '/../root/../secret', '/proc/self/root');
        for my $target (@targets) {
                my ($status, $head, $body) = answer($target);
                ok(($status == 403 || $status == 404) && $body !~ /secret|root:/,
                        "no way out: $target", "$status $body");
        }
        is((answer('/dir/../small.html'))[2], $bytes{'small.html'}, 'but up and down inside');
}

# ------------------------------------------------------------------ what takes its time

sub slow_clients { # of a server whose times are short
        alive() for 1 .. 8; # on each worker: what they make once is there
        my $fds = server_fds();
        my ($begun, $drips, $silent, $idle, $deaf) = map { connection() } 1 .. 5;
        send_all($begun, "GET / HTTP/1.1\r\nHo");
        send_all($idle, get('/dir/'));
        receive($idle, qr/the index$/);
        send_all($deaf, get('/big.bin') x 10);
        my $text = "GET / HTTP/1.1\r\nHost: a\r\nX: " . 'x' x 5000;
        for my $i (0 .. length $text) {
                last unless syswrite $drips, substr $text, $i, 1;
                last if IO::Select->new($drips)->can_read(0.02);
        }
        like(receive($drips), qr{^HTTP/1\.1 408 }, 'a request that drips is given up');
        like(receive($begun), qr{^HTTP/1\.1 408 }, 'one that stops, too');
        ok(at_end($silent), 'a connection that says nothing is closed');
        ok(at_end($idle), 'so is one that says no more');
        ok(settled($fds), 'and one that does not read', server_fds() . " descriptors, before $fds");
        ok(alive(), 'the others are served');
}

# Opens and closes so many, a few at a time, in all the ways in which clients leave.
sub churn {
        my ($connections, $wrong) = (shift, 0);
        for (my $done = 0; $done < $connections; $done += 20) {
                my @some = map { connection() } 1 .. 20;
                send_all($some[$_], get('/dir/')) for 0 .. 14;
                send_all($some[$_], get('/big.bin')) for 15 .. 17;
                receive($some[$_], qr/the index$/) =~ /^HTTP/ or $wrong++ for 0 .. 9;
                reset_connection($some[$_]) for 5 .. 16;
        }
        return $wrong;
}

sub leaves_nothing {
        my $fds = server_fds();
        my $wrong = churn($CHURN / 2);
        settled($fds);
        my $kb = server_kb();
        $wrong += churn($CHURN / 2);
        ok(!$wrong, "$CHURN connections that come and go", "$wrong wrong");
        ok(settled($fds), 'none is left', server_fds() . " descriptors, before $fds");
        my $grown = server_kb() - $kb;
        ok($slow > 1 || $grown < 2048, 'memory does not grow', "$grown kB");
}

# More connections than descriptors: they wait, at no cost, until others have gone.
sub without_descriptors {
        my @options = @_;

        start(64, @options);
        my @all = map { connection() } 1 .. 100;
        send_all($all[0], get('/dir/'));
        my $first = receive($all[0], qr/the index$|Unavailable$/);
        my $before = server_cpu();
        sleep 1;
        my $took = server_cpu() - $before;
        ok($took < 0.5, "@options: without descriptors it does not spin", "$took s of CPU");
        like($first, qr{^HTTP/1\.1 (?:200|503) }, 'those that are there are answered');
        close $_ for splice @all, 0, 80;
        send_all($all[19], get('/dir/'));
        like(receive($all[19], qr/the index$/), qr{^HTTP/1\.1 200 }, 'those that waited then');
        ok(alive(), 'new ones, too');
        @all = ();
        is(stop(), 0, 'status 0');
}

# ------------------------------------------------------------------ its end

sub ends_gently {
        my @options = @_;

        start(0, @options, '-g', 60);
        my ($idle, $silent, $loads, $half) = map { connection() } 1 .. 4;
        send_all($idle, get('/dir/'));
        receive($idle, qr/the index$/);
        send_all($loads, get('/big.bin') . get('/dir/'));
        my $got = receive($loads, qr/./);
        send_all($half, "GET /dir/ HTTP/1.1\r\n");
        sleep 0.1; # so that it may have read that, which makes no difference to what follows
        kill TERM => server_pid();
        ok(at_end($idle) && at_end($silent), "@options: SIGTERM closes idle connections");
        my $refused = eventually(sub {
                !socket_connects();
        });
        ok($refused, 'new ones are refused');
        $got .= receive($loads);
        my ($head, $body) = split /\r\n\r\n/, $got, 2;
        ok(substr($body, 0, 5_000_000) eq $bytes{'big.bin'}, 'a download goes on to its end',
                length($body) . ' bytes');
        send_all($half, "Host: a\r\n\r\n");
        my $answer = receive($half);
        ok($answer =~ /Connection: close.*the index$/s || $answer eq '',
                'a request that had begun is answered, if it was seen', $answer);
        is(ended(), 0, 'status 0');
}

sub ends_by_force { # when the grace is over, though somebody does not read
        my @options = @_;

        start(0, @options, '-g', 1);
        my $deaf = connection();
        send_all($deaf, get('/big.bin') x 10);
        receive($deaf, qr/./);
        is(stop(), 0, "@options: the grace has its end");
}

sub socket_connects {
        my $s = eval { connection() } or return 0;
        close $s;
        return 1;
}

plan(@modes * (5 + 5 + 1) + 2 * (26 + 2 + 18 + 6 + 3 + 1), 'curl');
for my $mode (@modes) {
        without_descriptors(@$mode);
        ends_gently(@$mode);
        ends_by_force(@$mode);
}
for my $mode (@modes[1, 2]) {
        start(0, @$mode);
        bad_requests();
        mutated_requests();
        ways_out();
        leaves_nothing();
        is(stop(), 0, "@$mode: status 0");
        start(0, @$mode, '-t', 1, '-k', 1);
        slow_clients();
        stop();
}
