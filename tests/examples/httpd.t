#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# What examples/httpd answers: files, ranges, conditions, folders, pipelined requests, to curl and
# to wrk, and what it writes into its log. TAP on stdout. BUILD: the build folder.
use strict;
use warnings;
use FindBin;
use IO::Select;
use POSIX ();
use lib $FindBin::Bin;
use httpd_rig;

my @modes = (['-w', 1], ['-w', 4], ['-w', 2, '-n']);

sub files_are_served {
        for my $name (sort keys %size) {
                my $got = curl(url($name));
                ok($got eq $bytes{$name}, "$name, $size{$name} bytes", length($got) . ' came');
        }
        my ($status, $head, $body) = answer('HEAD /big.bin');
        is("$status " . field($head, 'Content-Length') . " $body", '200 5000000 ', 'HEAD');
        is((answer('/dir/'))[2], 'the index', 'a folder by its index.html');
        ($status, $head) = answer('/dir');
        is("$status " . field($head, 'Location'), '301 ./dir/', 'without its slash: moved');
        is(scalar curl('-L', url('dir')), 'the index', 'which curl follows');
        is((answer('/a%20b+c%25.txt'))[2], 'odd name', 'a name in percents');
        is((answer('/small.html?query'))[2], $bytes{'small.html'}, 'a query is left out');
        is((answer('http://localhost/small.html'))[2], $bytes{'small.html'}, 'a whole URL');
        is((answer('/in-link'))[2], $bytes{'small.html'}, 'a link that stays inside');
        is(field((answer('/small.html'))[1], 'Content-Type'), 'text/html; charset=utf-8', 'type');
        is(status("/$_->[0]"), $_->[1], $_->[2])
                for ['none', 404, 'a file that is not there'],
                ['small.html/', 404, 'a file as a folder'], ['fifo', 403, 'a pipe'],
                ['n' x 300, 404, 'a name that is too long'];
}

sub changes_are_seen {
        lay('root/changing', 'before');
        my $before = (answer('/changing'))[2];
        lay('root/changing', 'after it');
        my $after = eventually(sub { (answer('/changing'))[2] eq 'after it' });
        unlink "$work/root/changing";
        my $gone = eventually(sub { status('/changing') == 404 });
        ok($before eq 'before' && $after && $gone, 'a file that changes, and goes');
}

sub parts_and_conditions {
        my $bytes = $bytes{'small.html'};
        my (undef, $head) = answer('/small.html');
        my ($etag, $modified) = (field($head, 'ETag'), field($head, 'Last-Modified'));
        my $later = POSIX::strftime('%a, %d %b %Y %T GMT', gmtime time + 3600);
        my @cases = (
                ['bytes=0-9', 206, 0, 10], ['bytes=10-', 206, 10, 990], ['bytes=-10', 206, 990, 10],
                ['bytes=999-2000', 206, 999, 1], ['bytes=-2000', 206, 0, 1000],
                ['bytes=1000-', 416], ['bytes=-0', 416], ['bytes=99999999999999999999-', 416],
                ['bytes=5-4', 200], ['bytes=a-b', 200], ['bytes=1-2,5-6', 200], ['bytes=', 200],
                ['bytes=--5', 200], ['lines=1-2', 200], ['bytes=1-2 ', 206, 1, 2],
                ['bytes=0-9x', 200], ['bytes=' . '1' x 100, 200],
        );
        for my $case (@cases) {
                my ($range, $wanted, $from, $length) = @$case;
                my ($status, $head, $body) = answer('/small.html', "Range: $range");
                my $part = $wanted == 206 ? substr $bytes, $from, $length
                        : $wanted == 416 ? '' : $bytes;
                my $says = $wanted == 206 ? "bytes $from-" . ($from + $length - 1) . '/1000'
                        : $wanted == 416 ? 'bytes */1000' : '';
                my $right = $status == $wanted && $body eq $part
                        && field($head, 'Content-Range') eq $says;
                ok($right, "Range: " . substr($range, 0, 40) . ": $wanted", $head);
        }
        my $part = curl('-r', '1000000-3999999', url('big.bin'));
        ok($part eq substr($bytes{'big.bin'}, 1_000_000, 3_000_000), 'a large part');
        for my $case (
                ["If-None-Match: $etag", 304], ["If-None-Match: \"x\", W/$etag", 304],
                ['If-None-Match: *', 304], ['If-None-Match: "x"', 200],
                ["If-Modified-Since: $modified", 304], ["If-Modified-Since: $later", 304],
                ['If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT', 200],
                ['If-Modified-Since: yesterday', 200],
                ["If-Modified-Since: $modified", 'If-None-Match: "x"', 200],
                ["If-Range: $etag", 'Range: bytes=0-9', 206],
                ["If-Range: $modified", 'Range: bytes=0-9', 206],
                ['If-Range: "x"', 'Range: bytes=0-9', 200],
        ) {
                my $wanted = pop @$case;
                is(status('/small.html', @$case), $wanted, "@$case: $wanted");
        }
        my $name = "$work/etag";
        curl('-o', "$work/got", '--etag-save', $name, url('small.html'));
        my $code = curl('-w', '%{http_code}', '--etag-compare', $name, url('small.html'));
        is($code, 304, 'curl has it already');
}

sub connections_are_kept {
        my $get = sub { "GET /$_[0] HTTP/1.1\r\nHost: a\r\n\r\n" };
        my $s = connection();
        my $right = 1;
        for (1 .. 20) {
                send_all($s, $get->('dir/'));
                $right &&= receive($s, qr/the index$/) =~ m{^HTTP/1\.1 200 OK\r\n};
        }
        ok($right, 'twenty requests on a connection');

        # More than fits into the buffers of both sides, in parts of any size.
        my @names = map { ('small.html', 'none', 'dir/', 'kept.txt')[$_ % 4] } 1 .. 400;
        my $asked = join('', map { $get->($_) } @names)
                . "GET /small.html HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        my $expected = join '', map {
                $_ eq 'none' ? "Not Found\n" : $_ eq 'dir/' ? 'the index' : $bytes{$_}
        } @names, 'small.html';
        my ($bodies, $answers) = bodies_of(converse($asked));
        ok($bodies eq $expected, '401 requests at once, answered in order', "$answers answers");

        my $byte = connection();
        for (split //, $get->('dir/')) { syswrite $byte, $_ }
        like(receive($byte, qr/the index$/), qr{^HTTP/1\.1 200 }, 'byte after byte');
        like(exchange("\r\n\r\nGET /dir/ HTTP/1.0\r\n\r\n"), qr{^HTTP/1\.1 200 .*the index$}s,
                'HTTP/1.0: closed after the answer');
        my $old = connection();
        send_all($old, "GET /dir/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") for 1 .. 2;
        my @kept = receive($old, qr/the index.*the index$/s) =~ /Connection: keep-alive/g;
        is(scalar @kept, 2, 'unless asked to be kept');
        my ($out) = curl('-w', '%{num_connects}', map { ('-o', "$work/got", url('dir/')) } 1 .. 5);
        is($out, '10000', 'curl needs one connection for five');
}

sub bodies_of { # all bodies of answers with lengths, one behind the other, and how many
        my ($data) = @_;
        my ($bodies, $answers) = ('', 0);
        while ($data =~ m{\GHTTP/1\.1 \d+ [^\r]*\r\n(.*?)\r\n\r\n}gs) {
                my ($at, $length) = (pos $data, field($1, 'Content-Length'));
                $bodies .= substr $data, $at, $length;
                pos($data) = $at + $length;
                $answers++;
        }
        return ($bodies, $answers);
}

sub folders_are_listed {
        my $list = curl(url('list/'));
        my @links = $list =~ m{<a href="(\./[^"]*)">}g;
        my ($odd) = grep { /%3C/ } @links;
        is(scalar(grep { m{^\./file\d+$} } @links), 500, 'a list has all files');
        ok((grep { $_ eq './sub/' } @links) && $list !~ /<b>/,
                'folders and odd names in it', $list);
        is(scalar curl(url("list/$odd")), 'odder name', 'a link of it leads there');
        my ($status, $head, $body) = answer('/list/');
        is("$status " . field($head, 'Transfer-Encoding'), '200 chunked', 'it comes in chunks');
        my $chunks = 0;
        my $text = '';
        while ($body =~ /\G([0-9a-f]+)\r\n/g) {
                my $at = pos $body;
                $text .= substr $body, $at, hex $1;
                pos($body) = $at + hex($1) + 2;
                $chunks++;
        }
        ok($text eq $list && $chunks > 2, 'several, whose end is marked', "$chunks chunks");
        like(exchange("GET /list/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
                qr{^HTTP/1\.1 200 OK\r\n(?!.*Transfer-Enc).*\r\n\r\n\Q$list\E$}s,
                'HTTP/1.0: up to the end of the connection');
}


# ------------------------------------------------------------------ beside the answers

sub wrk_is_content {
        my $url = url('small.html');
        my $said = `wrk -t 2 -c 50 -d 1 $url 2>&1`;
        my ($requests) = $said =~ /(\d+) requests in/;
        ok(($requests // 0) > 100 && $said !~ /Non-2xx|Socket errors/, 'wrk counts no error',
                $said);
}

sub log_of { # the lines for a target
        my $target = shift;
        open my $in, '<', "$work/log" or return ();
        return grep { /"\S+ \Q$target\E / } <$in>;
}

sub log_is_written {
        my $time = qr{\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]};
        status('/small.html?log');
        status('HEAD /big.bin?log');
        status('/none?log');
        status('/"\\' . "\x80" . '?log');
        curl('-r', '0-99', url('big.bin?part'));
        ok(eventually(sub { log_of('/big.bin?part') }), 'what is answered is soon in the log');
        like(join('', log_of("/$_->[0]?$_->[1]")),
                qr{^127\.0\.0\.1 - - $time "$_->[2] \Q/$_->[0]?$_->[1]\E HTTP/1\.1" $_->[3]\n$},
                "$_->[2] $_->[0]")
                for ['small.html', 'log', 'GET', '200 1000'], ['big.bin', 'log', 'HEAD', '200 0'],
                ['none', 'log', 'GET', '404 10'], ['big.bin', 'part', 'GET', '206 100'],
                ['?\\?', 'log', 'GET', '404 10'];
        open my $in, '<', "$work/log" or die "log: $!";
        my @odd = grep { !/^[0-9.]+ - - $time "[^"]*" \d{3} \d+\n$/ } <$in>;
        ok(!@odd, 'all lines have that form', join '', splice @odd, 0, 3);
}

sub log_is_complete { # also at the end
        unlink "$work/log";
        start(0, '-w', 4);
        my $asked = join '', map { "GET /$_ HTTP/1.1\r\nHost: a\r\n\r\n" } 1 .. 300;
        for (1 .. 10) {
                my $s = connection();
                send_all($s, $asked . "GET / HTTP/1.0\r\n\r\n");
                receive($s);
        }
        is(stop(), 0, 'status 0');
        open my $in, '<', "$work/log" or die "log: $!";
        is(scalar(() = <$in>), 3010, 'every request is in the log');
}

plan(@modes * (6 + 13 + 1 + 18 + 13 + 6 + 6 + 1 + 7 + 1) + 2, 'curl', 'wrk');
for my $mode (@modes) {
        unlink "$work/log";
        start(0, @$mode, '-i');
        print "# @$mode\n";
        files_are_served();
        changes_are_seen();
        parts_and_conditions();
        connections_are_kept();
        folders_are_listed();
        wrk_is_content();
        log_is_written();
        is(stop(), 0, "@$mode: status 0");
}
log_is_complete();
