// steps PID: attach to a process, read its registers, let its main thread do three instructions, and leave it.
//
//	UTRACED_SOCKET=... go run steps.go PID
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
)

const maxPacket = 204800 // limits.max_packet: no packet is larger

// Failure is the error of a reply.
type Failure struct {
	Message string
	Data    struct{ Hint string }
}

func (failure *Failure) Error() string {
	return fmt.Sprintf("%q\nhint: %q", failure.Message, failure.Data.Hint)
}

// Message is a packet of the daemon's: an event, which has a method, or a reply.
type Message struct {
	Method string
	Params struct{ Kind, Pc string }
	Result json.RawMessage
	Error  *Failure
}

// Client is a connection. Events that come before a reply wait in events.
type Client struct {
	socket net.Conn
	last   int
	events []Message
}

// receive returns the messages of one packet: a reply, an event, or several events in an array.
func (client *Client) receive() ([]Message, error) {
	packet := make([]byte, maxPacket)
	size, err := client.socket.Read(packet)
	if err != nil {
		return nil, fmt.Errorf("utraced has closed the connection: %w", err)
	}
	packet = packet[:size]
	if packet[0] == '[' {
		var messages []Message
		return messages, json.Unmarshal(packet, &messages)
	}
	var message Message
	err = json.Unmarshal(packet, &message)
	return []Message{message}, err
}

// call makes a request and fills result from the reply. One is under way at a time: any reply is its reply.
func (client *Client) call(method string, params map[string]any, result any) error {
	client.last++
	packet, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": client.last, "method": method, "params": params})
	if err != nil {
		return err
	}
	if _, err = client.socket.Write(packet); err != nil {
		return err
	}
	for {
		messages, err := client.receive()
		if err != nil {
			return err
		}
		if messages[0].Method == "event" {
			client.events = append(client.events, messages...)
		} else if messages[0].Error != nil {
			return messages[0].Error
		} else {
			return json.Unmarshal(messages[0].Result, result)
		}
	}
}

// event returns the next event.
func (client *Client) event() (Message, error) {
	for len(client.events) == 0 {
		messages, err := client.receive()
		if err != nil {
			return Message{}, err
		}
		client.events = append(client.events, messages...)
	}
	event := client.events[0]
	client.events = client.events[1:]
	return event, nil
}

// step lets a thread do one instruction and returns where it is held then.
func (client *Client) step(engine, tid int) (string, error) {
	params := map[string]any{"engine": engine, "tid": tid, "action": "step"}
	if err := client.call("thread.resume", params, &struct{}{}); err != nil {
		return "", err
	}
	for {
		event, err := client.event()
		switch {
		case err != nil:
			return "", err
		case event.Params.Kind == "step":
			return event.Params.Pc, nil
		case event.Params.Kind == "detached":
			return "", errors.New("the process has ended")
		}
	}
}

func run(pid int) error {
	socket, err := net.Dial("unixpacket", os.Getenv("UTRACED_SOCKET"))
	if err != nil {
		return err
	}
	defer socket.Close()
	client := &Client{socket: socket}

	var hello struct{ Version string }
	if err := client.call("daemon.hello", map[string]any{"client": "steps.go"}, &hello); err != nil {
		return err
	}
	fmt.Println("utraced", hello.Version)

	var attached struct{ Engine int }
	params := map[string]any{"pid": pid, "hold": true, "events": []string{}}
	if err := client.call("engine.attach", params, &attached); err != nil {
		return err
	}
	engine, tid := attached.Engine, pid // the main thread of a process has the process's number
	fmt.Println("engine", engine, "holds process", pid)

	var registers struct{ General map[string]string }
	if err := client.call("registers.read", map[string]any{"engine": engine, "tid": tid}, &registers); err != nil {
		return err
	}
	fmt.Println("pc", registers.General["rip"])
	fmt.Println("sp", registers.General["rsp"])

	for i := 0; i < 3; i++ {
		pc, err := client.step(engine, tid)
		if err != nil {
			return err
		}
		fmt.Println("step", pc)
	}

	if err := client.call("engine.detach", map[string]any{"engine": engine}, &struct{}{}); err != nil {
		return err
	}
	fmt.Println("detached")
	return nil
}

func main() {
	pid := 0
	if len(os.Args) == 2 {
		pid, _ = strconv.Atoi(os.Args[1])
	}
	if pid <= 0 {
		fmt.Fprintln(os.Stderr, "usage: steps PID")
		os.Exit(2)
	}
	if err := run(pid); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
