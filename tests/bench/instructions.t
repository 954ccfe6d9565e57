#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Do the operations take as many instructions as bench/instructions/figures says?
# Unlike times, counts are the same on every run, so one lost instruction in a hot path is seen.
# TAP on stdout. BUILD: the build folder.
#
# --update writes the figures of this compiler (make instructions UPDATE=1).
use strict;
use warnings;
use File::Temp qw(tempdir);

my ($SHARE, $SLACK) = (0.03, 0.5); # of the figure, and instructions: the larger one is allowed
my $FIGURES = 'bench/instructions/figures';
my $build = $ENV{BUILD} or die "BUILD is not set: run it by make instructions\n";
my $update = grep { $_ eq '--update' } @ARGV;

sub skip_all {
        die "$_[0]\n" if $update;
        print "1..0 # SKIP $_[0]\n";
        exit 0;
}

# The figures are for what users get by default. The build folder says what it was made with.
sub check_build {
        open my $in, '<', "$build/flags" or skip_all("no $build/flags");
        my ($compiler, @flags) = split ' ', <$in>;
        my $given = join ' ', grep { $_ ne '-Werror' } @flags;

        skip_all('sanitizers add instructions') if $given =~ /-fsanitize=/;
        skip_all('assertions add instructions') if $given =~ /-DSKUA_DEBUG/;
        skip_all("the figures are for other flags than $given")
                if $given ne '-O2 -g -pthread -Wall -Wextra';
        skip_all('the figures are for arch/x86_64') if $build !~ m{(?:^|/)x86_64(?:-[^/]*)?$};
        chomp(my $machine = `uname -m`);
        skip_all("this machine is $machine") if $machine ne 'x86_64';
        skip_all('valgrind is missing') if system 'command -v valgrind >/dev/null';
        return compiler($compiler);
}

sub compiler {
        my $macros = `$_[0] -dM -E -x c /dev/null`;

        return "clang-$1" if $macros =~ /__clang_major__ (\d+)/;
        return "gcc-$1" if $macros =~ /__GNUC__ (\d+)/;
        skip_all("$_[0] is neither gcc nor clang");
}

# Series and base of each: { name => { count => instructions } }.
sub count {
        my $folder = tempdir(CLEANUP => 1);
        my $program = "$build/bench/instructions/count";
        my ($name, $count, %sums);

        skip_all("$program is not built") if !-x $program;
        system('valgrind', '-q', '--tool=callgrind', '--collect-atstart=no', '--combine-dumps=yes',
                "--callgrind-out-file=$folder/out", $program) == 0 or die "$program failed\n";
        open my $in, '<', "$folder/out" or die "$folder/out: $!\n";
        while (<$in>) {
                ($name, $count) = ($1, $2) if /^desc: Trigger: Client Request: (.*) (\d+)$/;
                ($sums{$name}{$count}, $name) = ($1, undef) if defined $name && /^totals: (\d+)/;
        }
        delete $sums{'warm-up'};
        skip_all("$program was built without valgrind/callgrind.h") if !%sums;
        return \%sums;
}

sub slope {
        my $sums = shift or return 0;
        my ($few, $many) = sort { $a <=> $b } keys %$sums;

        return ($sums->{$many} - $sums->{$few}) / ($many - $few);
}

sub read_lines {
        open my $in, '<', $FIGURES or return;
        chomp(my @lines = <$in>);
        return @lines;
}

# Name and figure of each operation with this compiler.
sub figures {
        my $compiler = shift;

        return map { /^(\S+)\s+\Q$compiler\E\s+([\d.]+)$/ ? ($1 => $2) : () } read_lines();
}

sub rewrite {
        my ($compiler, $now) = @_;
        my @kept = grep { !/^\S+\s+\Q$compiler\E\s/ } read_lines();
        my @new = map { sprintf '%-20s %-9s %8.2f', $_, $compiler, $now->{$_} } keys %$now;
        my @comments = grep { /^#/ } @kept;

        open my $out, '>', $FIGURES or die "$FIGURES: $!\n";
        print $out "$_\n" for @comments, sort @new, grep { !/^#/ } @kept;
        close $out or die "$FIGURES: $!\n";
}

# The figure that is too high, or so low that keeping the old one would hide later losses.
sub compare {
        my ($name, $expected, $got, $number) = @_;
        my $allowed = $expected * $SHARE > $SLACK ? $expected * $SHARE : $SLACK;
        my $verdict = !defined $got                ? 'is not measured any more'
                    : $got > $expected + $allowed ? 'has become dearer'
                    : $got < $expected - $allowed ? 'has become cheaper: make instructions UPDATE=1'
                    :                               '';

        printf "%sok %d - %s: %.2f instructions, expected %.2f%s\n", $verdict ? 'not ' : '',
                $number, $name, $got // 0, $expected, $verdict && ", $verdict";
        return $verdict ne '';
}

my $compiler = check_build();
my %expected = figures($compiler);
skip_all("$FIGURES has none for $compiler") if !%expected && !$update;
my $sums = count();
my %now = map { $_ => slope($sums->{$_}) - slope($sums->{"$_ base"}) } grep { !/ / } keys %$sums;

if ($update) {
        rewrite($compiler, \%now);
        printf "%-20s %8.2f\n", $_, $now{$_} for sort keys %now;
        exit 0;
}
my ($number, $failed) = (0, 0);
printf "1..%d\n", keys(%expected) + 1;
$failed += compare($_, $expected{$_}, $now{$_}, ++$number) for sort keys %expected;
my @new = grep { !exists $expected{$_} } sort keys %now;
printf "%sok %d - every operation has its figure\n", @new ? 'not ' : '', ++$number;
print "# none for @new: make instructions UPDATE=1\n" if @new;
exit($failed || @new ? 1 : 0);
