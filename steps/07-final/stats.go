//go:build linux

package main

import (
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
)

// A transfer is what one disk has read or written.
type transfer struct {
	Major uint64 `json:"major"`
	Minor uint64 `json:"minor"`
	Op    string `json:"op"`
	Value uint64 `json:"value"`
}

// stats returns what the container uses, as the data of an event of type
// "stats" of runc: times in ns, sizes in bytes. What the host has no controller
// for is 0.
func (c cgroup) stats() (any, error) {
	if _, err := os.Stat(c.directories()[0]); err != nil {
		return nil, errors.New("no stats: the cgroup is gone")
	}
	table := func(controller, file string) map[string]uint64 {
		return statTable(readCgroup(c.Dirs[controller] + "/" + file))
	}
	number := func(controller, file string) uint64 {
		return statNumber(readCgroup(c.Dirs[controller] + "/" + controller + "." + file))
	}
	type object = map[string]any
	memory := func(limit, usage, peak string, failures uint64) object {
		return object{"limit": number("memory", limit), "usage": number("memory", usage), "max": number("memory", peak), "failcnt": failures}
	}
	result := object{}

	stat := table("cpu", "cpu.stat")
	times := object{"total": number("cpuacct", "usage"), "kernel": number("cpuacct", "usage_sys"), "user": number("cpuacct", "usage_user")}
	throttled := stat["throttled_time"]
	if c.v2("cpu") {
		times = object{"total": stat["usage_usec"] * 1000, "kernel": stat["system_usec"] * 1000, "user": stat["user_usec"] * 1000}
		throttled = stat["throttled_usec"] * 1000
	}
	result["cpu"] = object{"usage": times, "throttling": object{
		"periods": stat["nr_periods"], "throttledPeriods": stat["nr_throttled"], "throttledTime": throttled}}

	raw := table("memory", "memory.stat")
	if c.v2("memory") {
		result["memory"] = object{"cache": raw["file"], "raw": raw,
			"usage": memory("max", "current", "peak", table("memory", "memory.events")["max"]),
			"swap":  memory("swap.max", "swap.current", "swap.peak", table("memory", "memory.swap.events")["max"])}
	} else {
		result["memory"] = object{"cache": raw["cache"], "raw": raw,
			"usage": memory("limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", number("memory", "failcnt")),
			"swap":  memory("memsw.limit_in_bytes", "memsw.usage_in_bytes", "memsw.max_usage_in_bytes", number("memory", "memsw.failcnt"))}
	}

	limit := number("pids", "max")
	if limit == math.MaxUint64 {
		limit = 0 // none
	}
	result["pids"] = object{"current": number("pids", "current"), "limit": limit}

	transferred := readCgroup(c.Dirs["io"] + "/io.stat")
	bytes, count := transfers(transferred, "rbytes=", "wbytes="), transfers(transferred, "rios=", "wios=")
	if !c.v2("io") {
		bytes = transfers(readCgroup(c.Dirs["blkio"]+"/blkio.throttle.io_service_bytes_recursive"), "Read", "Write")
		count = transfers(readCgroup(c.Dirs["blkio"]+"/blkio.throttle.io_serviced_recursive"), "Read", "Write")
	}
	result["blkio"] = object{"ioServiceBytesRecursive": bytes, "ioServicedRecursive": count}
	return result, nil
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
		for i := 1; i+1 < len(fields); i++ {
			op := "Read"
			if fields[i] == write {
				op = "Write"
			} else if fields[i] != read {
				continue
			}
			major, minor, _ := strings.Cut(fields[0], ":")
			list = append(list, transfer{statNumber(major), statNumber(minor), op, statNumber(fields[i+1])})
		}
	}
	return list
}
