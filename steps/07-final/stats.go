//go:build linux

package main

import (
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
)

// These are the data of an event of type "stats", as those who read runc's
// expect them.
type (
	stats struct {
		CPU struct {
			Usage struct {
				Total  uint64 `json:"total"`
				Kernel uint64 `json:"kernel"`
				User   uint64 `json:"user"`
			} `json:"usage"` // in ns
			Throttling struct {
				Periods          uint64 `json:"periods"`
				ThrottledPeriods uint64 `json:"throttledPeriods"`
				ThrottledTime    uint64 `json:"throttledTime"` // in ns
			} `json:"throttling"`
		} `json:"cpu"`
		Memory struct {
			Cache uint64            `json:"cache"`
			Usage usage             `json:"usage"`
			Swap  usage             `json:"swap"`
			Raw   map[string]uint64 `json:"raw"`
		} `json:"memory"`
		Pids struct {
			Current uint64 `json:"current"`
			Limit   uint64 `json:"limit"` // 0 is none
		} `json:"pids"`
		Blkio struct {
			Bytes []transfer `json:"ioServiceBytesRecursive"`
			Count []transfer `json:"ioServicedRecursive"`
		} `json:"blkio"`
	}
	usage struct {
		Limit   uint64 `json:"limit"`
		Usage   uint64 `json:"usage"`
		Max     uint64 `json:"max"`
		Failcnt uint64 `json:"failcnt"`
	}
	transfer struct {
		Major uint64 `json:"major"`
		Minor uint64 `json:"minor"`
		Op    string `json:"op"`
		Value uint64 `json:"value"`
	}
)

// stats returns what the container uses. What a host has no controller for is 0.
func (c cgroup) stats() (any, error) {
	var s stats
	if _, err := os.Stat(c.directories()[0]); err != nil {
		return nil, errors.New("no stats: the cgroup is gone")
	}
	number := func(controller, file string) uint64 {
		return statNumber(readCgroup(c.Dirs[controller] + "/" + file))
	}
	cpu, throttling := &s.CPU.Usage, &s.CPU.Throttling
	stat := statTable(readCgroup(c.Dirs["cpu"] + "/cpu.stat"))
	throttling.Periods, throttling.ThrottledPeriods = stat["nr_periods"], stat["nr_throttled"]
	if c.v2("cpu") {
		throttling.ThrottledTime = stat["throttled_usec"] * 1000
		cpu.Total, cpu.Kernel, cpu.User = stat["usage_usec"]*1000, stat["system_usec"]*1000, stat["user_usec"]*1000
	} else {
		throttling.ThrottledTime = stat["throttled_time"]
		cpu.Total = number("cpuacct", "cpuacct.usage")
		cpu.Kernel, cpu.User = number("cpuacct", "cpuacct.usage_sys"), number("cpuacct", "cpuacct.usage_user")
	}
	m := &s.Memory
	m.Raw = statTable(readCgroup(c.Dirs["memory"] + "/memory.stat"))
	if c.v2("memory") {
		m.Cache = m.Raw["file"]
		m.Usage = usage{number("memory", "memory.max"), number("memory", "memory.current"), number("memory", "memory.peak"),
			statTable(readCgroup(c.Dirs["memory"] + "/memory.events"))["max"]}
		m.Swap = usage{number("memory", "memory.swap.max"), number("memory", "memory.swap.current"), number("memory", "memory.swap.peak"),
			statTable(readCgroup(c.Dirs["memory"] + "/memory.swap.events"))["max"]}
	} else {
		m.Cache = m.Raw["cache"]
		for prefix, u := range map[string]*usage{"memory.": &m.Usage, "memory.memsw.": &m.Swap} {
			*u = usage{number("memory", prefix+"limit_in_bytes"), number("memory", prefix+"usage_in_bytes"),
				number("memory", prefix+"max_usage_in_bytes"), number("memory", prefix+"failcnt")}
		}
	}
	s.Pids.Current, s.Pids.Limit = number("pids", "pids.current"), number("pids", "pids.max")
	if s.Pids.Limit == math.MaxUint64 {
		s.Pids.Limit = 0
	}
	if c.v2("io") {
		s.Blkio.Bytes = transfers(readCgroup(c.Dirs["io"]+"/io.stat"), "rbytes=", "wbytes=")
		s.Blkio.Count = transfers(readCgroup(c.Dirs["io"]+"/io.stat"), "rios=", "wios=")
	} else {
		s.Blkio.Bytes = transfers(readCgroup(c.Dirs["blkio"]+"/blkio.throttle.io_service_bytes_recursive"), "Read", "Write")
		s.Blkio.Count = transfers(readCgroup(c.Dirs["blkio"]+"/blkio.throttle.io_serviced_recursive"), "Read", "Write")
	}
	return s, nil
}

// statNumber reads a number; "max" is the highest.
func statNumber(text string) uint64 {
	if text == "max" {
		return math.MaxUint64
	}
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}

// statTable reads lines of a name and a number.
func statTable(text string) map[string]uint64 {
	table := map[string]uint64{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), " "); found {
			table[name] = statNumber(value)
		}
	}
	return table
}

// transfers reads what went to and from each disk. A line of v2 has all,
// "8:0 rbytes=1 wbytes=2", one of v1 has one, "8:0 Read 1".
func transfers(text, read, write string) (list []transfer) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(strings.ReplaceAll(line, "=", "= "))
		if len(fields) == 0 {
			continue
		}
		major, minor, found := strings.Cut(fields[0], ":")
		for i, name := range fields {
			if found && i+1 < len(fields) && (name == read || name == write) {
				op := map[bool]string{true: "Read", false: "Write"}[name == read]
				list = append(list, transfer{statNumber(major), statNumber(minor), op, statNumber(fields[i+1])})
			}
		}
	}
	return list
}
