#!/bin/sh
# steps.sh PID: attach to a process, read its registers, let its main thread do three instructions, and leave it.
#
# socat connects and runs this script once more, with a packet socket as standard input and output (type 5 is
# SOCK_SEQPACKET): there, one printf sends one packet, and one read by dd receives one. Descriptor 3 is the terminal's.
set -u

max_packet=204800 # limits.max_packet: no packet is larger

if [ "${STEPS_INSIDE-}" = "" ]; then
    case ${1-} in
        '' | *[!0-9]*) echo "usage: steps.sh PID" >&2; exit 2 ;;
    esac
    : "${UTRACED_SOCKET:?has to name the socket of the daemon}"
    exec 3>&1
    # What the inner script writes to descriptor 4 is its exit status, which socat would keep to itself.
    status=$(STEPS_INSIDE=$0 PID=$1 socat -b "$max_packet" "UNIX-CONNECT:$UTRACED_SOCKET,type=5" \
        'SYSTEM:exec sh "$STEPS_INSIDE",socktype=5' 4>&1)
    exit "${status:-1}"
fi
trap 'echo $? >&4; exit 0' EXIT

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Receive a packet into $packet: a reply, an event, or several events in an array.
receive() {
    packet=$(dd bs="$max_packet" count=1 2>/dev/null)
    [ -n "$packet" ] || fail "utraced has closed the connection"
}

# Print a member of what is on standard input; inside of a text every quote has a backslash before it, so that "NAME":
# is a name. It takes the last of several: the packets asked here have one, or it does not matter.
text_of() { sed -nE 's/.*"'"$1"'":"(([^"\\]|\\.)*)".*/\1/p'; }
number_of() { sed -nE 's/.*"'"$1"'":([0-9]+).*/\1/p'; }

# Take note of events: of where a step ended (they hold no other objects, and end at the first brace), and that we are
# detached, because the process has ended or because we asked for it. Other kinds were not asked for.
take_events() {
    case $packet in
        *'"kind":"step"'*) stepped=$(printf '%s' "$packet" | tr '}' '\n' | grep '"kind":"step"' | text_of pc) ;;
        *'"kind":"detached"'*) ended=yes ;;
    esac
}

# Make a request (method, parameters) and leave its reply in $packet. One is under way at a time: any reply is its reply.
id=0
call() {
    id=$((id + 1))
    printf '{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}' "$id" "$1" "$2"
    while receive; do
        case $packet in
            *'"method":"event"'*) take_events ;;
            *'"error":{'*)
                fail "error: $(printf '%s' "$packet" | text_of message)" "hint: $(printf '%s' "$packet" | text_of hint)"
                ;;
            *) return ;;
        esac
    done
}

call daemon.hello '{"client":"steps.sh"}'
echo "utraced $(printf '%s' "$packet" | text_of version)" >&3

call engine.attach "{\"pid\":$PID,\"hold\":true,\"events\":[]}"
engine=$(printf '%s' "$packet" | number_of engine)
echo "engine $engine holds process $PID" >&3

# The main thread of a process has the process's number.
call registers.read "{\"engine\":$engine,\"tid\":$PID}"
echo "pc $(printf '%s' "$packet" | text_of rip)" >&3
echo "sp $(printf '%s' "$packet" | text_of rsp)" >&3

for _ in 1 2 3; do
    stepped='' ended=''
    call thread.resume "{\"engine\":$engine,\"tid\":$PID,\"action\":\"step\"}"
    while [ -z "$stepped" ]; do
        [ -z "$ended" ] || fail "the process has ended"
        receive
        take_events
    done
    echo "step $stepped" >&3
done

call engine.detach "{\"engine\":$engine}"
echo detached >&3
