#!/usr/bin/perl
# steps.pl PID: attach to a process, read its registers, let its main thread do three instructions, and leave it.
use strict;
use warnings;
use JSON::PP;
use Socket;

use constant MAX_PACKET => 204_800;    # limits.max_packet: no packet is larger

my $last = 0;
my @events;    # that came before they were asked for

sub fail {
    my $text = join '', @_;
    $text =~ s/[^\n[:print:]]/?/g;    # texts may hold what a process calls itself, and a terminal would obey
    print STDERR "$text\n";
    exit 1;
}

# Return the next message, a reply or an event; several events may come in one packet, as an array.
sub receive {
    my ($utraced) = @_;
    defined recv($utraced, my $packet, MAX_PACKET, 0) or fail "recv: $!";
    length $packet or fail 'utraced has closed the connection';
    my $message = decode_json($packet);
    return ref $message eq 'ARRAY' ? @$message : $message;
}

# Return the result of a request. One is under way at a time, so that any reply is its reply.
sub call {
    my ($utraced, $method, %params) = @_;
    my $request = encode_json({ jsonrpc => '2.0', id => ++$last, method => $method, params => \%params });
    defined send($utraced, $request, MSG_NOSIGNAL) or fail "send: $!";
    while (1) {
        my @messages = receive($utraced);
        my $reply    = $messages[0];
        if (exists $reply->{method}) {
            push @events, @messages;
        }
        elsif ($reply->{error}) {
            fail "error: $reply->{error}{message}\nhint: $reply->{error}{data}{hint}";
        }
        else {
            return $reply->{result};
        }
    }
}

# Let a thread do one instruction and return where it is held then.
sub step {
    my ($utraced, $engine, $tid) = @_;
    call($utraced, 'thread.resume', engine => $engine, tid => $tid, action => 'step');
    while (1) {
        push @events, receive($utraced) unless @events;
        my $event = shift(@events)->{params};
        return $event->{pc} if $event->{kind} eq 'step';
        fail 'the process has ended' if $event->{kind} eq 'detached';
    }
}

@ARGV == 1 && $ARGV[0] =~ /^\d+$/ or do { print STDERR "usage: steps.pl PID\n"; exit 2 };
binmode STDERR, ':encoding(UTF-8)';
my $pid  = $ARGV[0] + 0;    # a number, also as JSON
my $path = $ENV{UTRACED_SOCKET} // fail 'UTRACED_SOCKET has to name the daemon\'s socket';
socket(my $utraced, AF_UNIX, SOCK_SEQPACKET, 0) or fail "socket: $!";
connect($utraced, pack_sockaddr_un($path)) or fail "$path: $!";

my $hello = call($utraced, 'daemon.hello', client => 'steps.pl');
print "utraced $hello->{version}\n";

my $engine = call($utraced, 'engine.attach', pid => $pid, hold => JSON::PP::true, events => [])->{engine};
printf "engine %d holds process %d\n", $engine, $pid;    # "$engine" would make it a string, also as JSON

my $tid       = $pid;    # the main thread of a process has the process's number
my $registers = call($utraced, 'registers.read', engine => $engine, tid => $tid)->{general};
print "pc $registers->{rip}\nsp $registers->{rsp}\n";

print 'step ', step($utraced, $engine, $tid), "\n" for 1 .. 3;

call($utraced, 'engine.detach', engine => $engine);
print "detached\n";
