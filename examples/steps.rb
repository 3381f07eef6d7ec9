#!/usr/bin/env ruby
# steps.rb PID: attach to a process, read its registers, let its main thread do three instructions, and leave it.
require "json"
require "socket"

MAX_PACKET = 204_800 # limits.max_packet: no packet is larger

# A connection to utraced.
class Client
  def initialize(path)
    @socket = Socket.new(:UNIX, :SEQPACKET)
    @socket.connect(Socket.pack_sockaddr_un(path))
    @last = 0
    @events = [] # that came before they were asked for
  end

  # Return the result of a request. One is under way at a time, so that any reply is its reply.
  def call(method, **params)
    @last += 1
    @socket.send(JSON.generate({ jsonrpc: "2.0", id: @last, method: method, params: params }), 0)
    loop do
      messages = receive
      reply = messages.first
      if reply.key?("method")
        @events.concat(messages)
      elsif reply.key?("error")
        raise "#{reply["error"]["message"]}\nhint: #{reply["error"]["data"]["hint"]}"
      else
        return reply["result"]
      end
    end
  end

  # Let a thread do one instruction and return where it is held then.
  def step(engine, tid)
    call("thread.resume", engine: engine, tid: tid, action: "step")
    loop do
      @events.concat(receive) if @events.empty?
      event = @events.shift["params"]
      return event["pc"] if event["kind"] == "step"
      raise "the process has ended" if event["kind"] == "detached"
    end
  end

  private

  # Return the messages of one packet: a reply, an event, or several events in an array.
  def receive
    packet = @socket.recv(MAX_PACKET)
    raise "utraced has closed the connection" if packet.nil? || packet.empty?

    message = JSON.parse(packet)
    message.is_a?(Array) ? message : [message]
  end
end

unless ARGV.size == 1 && ARGV.first.match?(/\A\d+\z/)
  warn "usage: steps.rb PID"
  exit 2
end
pid = ARGV.first.to_i
begin
  client = Client.new(ENV.fetch("UTRACED_SOCKET"))
  puts "utraced #{client.call("daemon.hello", client: "steps.rb")["version"]}"

  engine = client.call("engine.attach", pid: pid, hold: true, events: [])["engine"]
  puts "engine #{engine} holds process #{pid}"

  tid = pid # the main thread of a process has the process's number
  registers = client.call("registers.read", engine: engine, tid: tid)["general"]
  puts "pc #{registers["rip"]}", "sp #{registers["rsp"]}"

  3.times { puts "step #{client.step(engine, tid)}" }

  client.call("engine.detach", engine: engine)
  puts "detached"
rescue KeyError, RuntimeError, SystemCallError => e
  # Texts may hold what a process calls itself, and a terminal would obey.
  warn "error: #{e.message.gsub(/[^\n[:print:]]/, "?")}"
  exit 1
end
