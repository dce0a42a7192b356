//go:build linux

package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"unsafe"

	"containers-from-scratch/harness/probe"

	"golang.org/x/sys/unix"
)

// The verbs make their sockets themselves: package net would take most of the
// probe's time to start.

// deaf is how long nothing may come before it counts as nothing.
var deaf = unix.Timeval{Sec: 5}

// connect says for each target, "tcp:127.0.0.1:80" or "unix:@name", what the
// service there says at once, or why there is none.
func connect(targets []string) error {
	for _, target := range targets {
		fmt.Println(connected(target))
	}
	return nil
}

// connected is one line about a target.
func connected(target string) string {
	kind, name, _ := strings.Cut(target, ":")
	family, address := unix.AF_UNIX, unix.Sockaddr(&unix.SockaddrUnix{Name: name})
	if kind == "tcp" {
		to, err := netip.ParseAddrPort(name)
		if err != nil {
			return err.Error()
		}
		family, address = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	s, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err.Error()
	}
	defer unix.Close(s)
	_ = unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &deaf) // of connect(2) too, see socket(7)
	_ = unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &deaf)
	// Go sends itself signals, and a call with a timeout is not begun anew after
	// one, see signal(7). A connect(2) that was interrupted goes on meanwhile.
	err = unix.Connect(s, address)
	for errors.Is(err, unix.EINTR) || errors.Is(err, unix.EALREADY) {
		err = unix.Connect(s, address)
	}
	if errors.Is(err, unix.EINPROGRESS) {
		return "no answer"
	} else if err != nil && !errors.Is(err, unix.EISCONN) {
		return err.Error()
	}
	_, _ = unix.Write(s, []byte("\n")) // for one that waits for a question
	said := make([]byte, 1000)
	n, err := unix.Read(s, said)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(s, said)
	}
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(said[:n]))
}

// serve prints what probe prints without a verb, and "serving". Then it answers
// who connects to ADDRESS:PORT: targets in the line that it gets as
// connect does, no target with the address that it was reached at. "end" ends it.
func serve(args []string) error {
	at, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	_ = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) // one before may have just ended
	if err := unix.Bind(s, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return fmt.Errorf("bind %v: %w", at, err)
	}
	if err := unix.Listen(s, 8); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(probe.Observe()); err != nil {
		return err
	}
	fmt.Println("serving")
	for {
		c, _, err := unix.Accept4(s, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		} else if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		question := make([]byte, 1000)
		n, _ := unix.Read(c, question)
		targets := strings.Fields(string(question[:max(n, 0)]))
		var answer string
		for _, target := range targets {
			if target == "end" {
				return nil
			}
			answer += connected(target) + "\n"
		}
		if at, err := unix.Getsockname(c); err == nil && len(targets) == 0 {
			answer = netip.AddrFrom4(at.(*unix.SockaddrInet4).Addr).String() + "\n"
		}
		_, _ = unix.Write(c, []byte(answer))
		unix.Close(c)
	}
}

// discard is the port to which sniff listens; nobody serves there.
const discard = 9

// sniff opens a packet socket and says so. At the end of stdin it sends "end"
// over its loopback and prints all that is sent to port 9 until it hears that.
func sniff([]string) error {
	protocol := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_IP)) // htons(3)
	s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		fmt.Println("packet socket:", err)
		return nil
	}
	fmt.Println("packet socket: open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &deaf)
	sender, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	if err := unix.Sendto(sender, []byte("end"), 0, &unix.SockaddrInet4{Port: discard, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("send over loopback: %w", err)
	}
	for packet := make([]byte, 2000); ; {
		n, _, err := unix.Recvfrom(s, packet, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return fmt.Errorf("hear %q: %w", "end", err)
		}
		// An IP header of 20 bytes and a UDP header of 8, see ip(7) and udp(7).
		if n < 28 || packet[9] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(packet[22:]) != discard {
			continue
		}
		fmt.Println("heard", string(packet[28:n]))
		if string(packet[28:n]) == "end" {
			return nil
		}
	}
}

// advertise tells a route to its network: as who may change the table does, and
// as a router does that tells his neighbours. Then it waits for the end of stdin.
func advertise([]string) error {
	for _, way := range []struct {
		name string
		tell func() error
	}{{"route", addRoute}, {"advertisement", sendAdvertisement}} {
		if err := way.tell(); err != nil {
			fmt.Printf("%s: %v\n", way.name, err)
		} else {
			fmt.Printf("%s: told\n", way.name)
		}
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// addRoute adds one to 2001:db8:bad::/48, over lo: struct in6_rtmsg of
// linux/ipv6_route.h, see SIOCADDRT in the kernel's net/ipv6/route.c.
func addRoute() error {
	route := struct {
		to, from, gateway [16]byte
		kind              uint32
		toBits, fromBits  uint16
		metric            uint32
		info              uint
		flags             uint32
		index             int32
	}{to: netip.MustParseAddr("2001:db8:bad::").As16(), toBits: 48, metric: 1024, flags: unix.RTF_UP, index: 1}
	s, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCADDRT, uintptr(unsafe.Pointer(&route))); errno != 0 {
		return errno
	}
	return nil
}

// sendAdvertisement sends, over eth0, the advertisement of a router, as which whoever
// listens is to take fe80::bad for half an hour: the type 134 of ICMPv6, see RFC
// 4861, 4.2. One frame is to all nodes, one to the bridge that a port belongs to:
// it is the port's own and goes no further, see group_fwd_mask in ip-link(8).
func sendAdvertisement() error {
	s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // it only sends
	if err != nil {
		return err
	}
	defer unix.Close(s)
	eth0, err := unix.NewIfreq("eth0")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFINDEX, eth0); err != nil {
		return fmt.Errorf("find eth0: %w", err)
	}
	from, to := netip.MustParseAddr("fe80::bad").As16(), netip.MustParseAddr("ff02::1").As16()
	advertisement := []byte{134, 0, 0, 0, 64, 0, 1800 >> 8, 1800 & 0xff, 0, 0, 0, 0, 0, 0, 0, 0}
	sum := uint32(len(advertisement) + unix.IPPROTO_ICMPV6)
	for _, part := range [][]byte{from[:], to[:], advertisement} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(advertisement[2:], ^uint16(sum>>16+sum))
	for _, hardware := range [][]byte{{0x33, 0x33, 0, 0, 0, 1}, {0x01, 0x80, 0xc2, 0, 0, 0x0e}} {
		frame := slices.Concat(hardware, []byte{2, 0, 0, 0, 0x0b, 0xad}, // from nobody
			[]byte{0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(advertisement)), unix.IPPROTO_ICMPV6, 255}, from[:], to[:], advertisement)
		if err := unix.Sendto(s, frame, 0, &unix.SockaddrLinklayer{Ifindex: int(eth0.Uint32())}); err != nil {
			return fmt.Errorf("send over eth0: %w", err)
		}
	}
	return nil
}

// address gives an interface one more address, and prints it.
func address(args []string) error {
	ip, err := netip.ParseAddr(args[1])
	if err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	req, err := unix.NewIfreq(args[0] + ":more") // a label: beside its first, see netdevice(7)
	if err != nil {
		return fmt.Errorf("name %s: %w", args[0], err)
	}
	if err := req.SetInet4Addr(ip.AsSlice()); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCSIFADDR, req); err != nil {
		return fmt.Errorf("add address to %s: %w", args[0], err)
	}
	fmt.Println(ip)
	return nil
}
