//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A limit is what is to be written to a file of the cgroup in which the
// controller is; "" is that of v2, whatever it has.
type limit struct{ controller, file, value string }

// update sets the limits that are given.
func (c cgroup) update(r *specs.LinuxResources) error {
	limits, err := planLimits(given(r), c.v2, func(controller, file string) string {
		return readCgroup(c.Dirs[controller] + "/" + file)
	})
	for i, planned := 0, len(limits); err == nil && i < len(limits); i++ {
		l := limits[i]
		if c.Dirs[l.controller] == "" {
			return fmt.Errorf(noController, cmp.Or(l.controller, "of cgroup v2"))
		}
		err = writeCgroup(c.Dirs[l.controller]+"/"+l.file, l.value)
		switch {
		case errors.Is(err, unix.EINVAL) && i < planned:
			// One limit may not go above another: memory above memory with
			// swap, a burst above the quota. What the old value of another
			// forbids is tried once more, in the end.
			limits, err = append(limits, l), nil
		case errors.Is(err, os.ErrNotExist) && strings.Contains(l.file, "sw") && (l.value == "max" || l.value == "-1"):
			err = nil // the kernel does not count swap, and need not limit it
		case errors.Is(err, unix.EBUSY) && l.controller == "memory":
			err = fmt.Errorf("%w (more than that is in use)", err)
		}
	}
	return err
}

// planLimits tells what to write, and in which order. It writes nothing. V2
// tells which controllers have that version, now what a file holds: "" without
// it. Numbers that are 0 are not given, as docker and runc mean it, and -1 is
// no limit; but that of processes can be 0.
func planLimits(r specs.LinuxResources, v2 func(string) bool, now func(controller, file string) string) (plan []limit, err error) {
	// A field of config.json goes to a file, on v2 or on v1; nowhere, it is
	// refused. The value "" is not given.
	set := func(field, controller, fileV2, fileV1, value string) {
		file, version := fileV1, "v1"
		if v2(controller) {
			file, version = fileV2, "v2"
		}
		if value == "-1" && (version == "v2" || controller == "pids") {
			value = "max"
		}
		if value != "" && file == "" {
			err = cmp.Or(err, fmt.Errorf("linux.resources.%s is not supported with cgroup %s", field, version))
		} else if value != "" {
			plan = append(plan, limit{controller, file, value})
		}
	}

	m := given(r.Memory)
	most, swap := given(m.Limit), given(m.Swap)
	if most < 0 && swap == 0 { // else the old limit with swap would hold for memory, too
		swap = -1
	}
	swapFile, oomFile := amount(&swap), number(m.DisableOOMKiller)
	if v2("memory") {
		oomFile = amount(m.DisableOOMKiller)
		if most == 0 {
			most, _ = strconv.ParseInt(now("memory", "memory.max"), 10, 64)
		}
		if swap > 0 { // it counts swap alone, config.json together with memory
			swapFile = strconv.FormatInt(swap-most, 10)
		}
		if swap > 0 && (most <= 0 || swap < most) {
			return nil, fmt.Errorf("memory and swap %d: there must be a limit of memory below it, not %d", swap, most)
		}
	}
	set("memory.limit", "memory", "memory.max", "memory.limit_in_bytes", amount(m.Limit))
	set("memory.swap", "memory", "memory.swap.max", "memory.memsw.limit_in_bytes", swapFile)
	set("memory.reservation", "memory", "memory.low", "memory.soft_limit_in_bytes", amount(m.Reservation))
	set("memory.swappiness", "memory", "", "memory.swappiness", number(m.Swappiness))
	set("memory.disableOOMKiller", "memory", "", "memory.oom_control", oomFile)
	set("memory.kernel", "memory", "", "", amount(m.Kernel))
	set("memory.kernelTCP", "memory", "", "", amount(m.KernelTCP))
	set("memory.useHierarchy", "memory", "", "", number(m.UseHierarchy))
	set("memory.checkBeforeUpdate", "memory", "", "", amount(m.CheckBeforeUpdate))

	c := given(r.CPU)
	shares, period, quota := amount(c.Shares), amount(c.Period), amount(c.Quota)
	if v2("cpu") {
		if shares != "" {
			shares = cpuWeight(*c.Shares)
		}
		if quota = strings.Replace(quota, "-1", "max", 1); quota == "" && period != "" {
			quota, _, _ = strings.Cut(now("cpu", "cpu.max"), " ") // it stays, but has to be said: "max 100000"
		}
		quota, period = strings.TrimSpace(quota+" "+period), ""
	}
	set("cpu.shares", "cpu", "cpu.weight", "cpu.shares", shares)
	set("cpu.idle", "cpu", "cpu.idle", "cpu.idle", number(c.Idle)) // who is idle has no weight that could be set
	set("cpu.period", "cpu", "", "cpu.cfs_period_us", period)
	set("cpu.quota", "cpu", "cpu.max", "cpu.cfs_quota_us", quota)
	set("cpu.burst", "cpu", "cpu.max.burst", "cpu.cfs_burst_us", number(c.Burst))
	set("cpu.realtimePeriod", "cpu", "", "", amount(c.RealtimePeriod))
	set("cpu.realtimeRuntime", "cpu", "", "", amount(c.RealtimeRuntime))
	set("cpu.cpus", "cpuset", "cpuset.cpus", "cpuset.cpus", c.Cpus)
	set("cpu.mems", "cpuset", "cpuset.mems", "cpuset.mems", c.Mems)
	set("pids.limit", "pids", "pids.max", "pids.max", number(given(r.Pids).Limit))

	b, io := given(r.BlockIO), "blkio"
	if v2("io") {
		io = "io"
	}
	// Who weighs is the scheduler of the disk, BFQ, and only where it is in use
	// are its files.
	set("blockIO.weight", io, "io.bfq.weight", "blkio.bfq.weight", amount(b.Weight))
	set("blockIO.leafWeight", io, "", "", amount(b.LeafWeight))
	for _, d := range b.WeightDevice {
		set("blockIO.weightDevice", io, "io.bfq.weight", "blkio.bfq.weight_device", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, given(d.Weight)))
		set("blockIO.weightDevice.leafWeight", io, "", "", amount(d.LeafWeight))
	}
	throttle := func(field, key, fileV1 string, devices []specs.LinuxThrottleDevice) {
		for _, d := range devices {
			rate := number(&d.Rate)
			if io == "io" {
				rate = key + cmp.Or(amount(&d.Rate), "max") // 0 is no limit on v1
			}
			set("blockIO."+field, io, "io.max", "blkio.throttle."+fileV1, fmt.Sprintf("%d:%d %s", d.Major, d.Minor, rate))
		}
	}
	throttle("throttleReadBpsDevice", "rbps=", "read_bps_device", b.ThrottleReadBpsDevice)
	throttle("throttleWriteBpsDevice", "wbps=", "write_bps_device", b.ThrottleWriteBpsDevice)
	throttle("throttleReadIOPSDevice", "riops=", "read_iops_device", b.ThrottleReadIOPSDevice)
	throttle("throttleWriteIOPSDevice", "wiops=", "write_iops_device", b.ThrottleWriteIOPSDevice)

	for _, h := range r.HugepageLimits {
		size := "hugetlb." + h.Pagesize
		set("hugepageLimits", "hugetlb", size+".max", size+".limit_in_bytes", number(&h.Limit))
		// Reserved pages count when they are asked for: no SIGBUS later.
		if now("hugetlb", size+".rsvd.max")+now("hugetlb", size+".rsvd.limit_in_bytes") != "" {
			set("hugepageLimits", "hugetlb", size+".rsvd.max", size+".rsvd.limit_in_bytes", number(&h.Limit))
		}
	}
	set("network.classID", "net_cls", "", "net_cls.classid", number(given(r.Network).ClassID))
	for _, i := range given(r.Network).Priorities {
		set("network.priorities", "net_prio", "", "net_prio.ifpriomap", fmt.Sprint(i.Name, " ", i.Priority))
	}
	for device := range r.Rdma {
		set("rdma", "rdma", "", "", device)
	}
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		for line := range strings.SplitSeq(strings.TrimSuffix(r.Unified[file], "\n"), "\n") {
			plan = append(plan, limit{"", file, line}) // io.max takes one device at a time
		}
	}
	for _, l := range plan {
		// A file elsewhere is no limit, and who is in the cgroup is not to be
		// said here.
		if strings.Contains(l.file, "/") || !strings.Contains(strings.Trim(l.file, "."), ".") || l.file == "cgroup.procs" || l.file == "cgroup.threads" {
			err = cmp.Or(err, fmt.Errorf("%q is no file with a limit", l.file))
		}
	}
	if err != nil {
		return nil, err
	}
	return plan, nil
}

// given returns what n points to, or its zero value.
func given[N any](n *N) (value N) {
	if n != nil {
		value = *n
	}
	return value
}

// number is how a file takes n, also yes and no; "" if it is not given.
func number[N any](n *N) string {
	if n == nil {
		return ""
	}
	return strings.NewReplacer("false", "0", "true", "1").Replace(fmt.Sprint(*n))
}

// amount is number where 0 is not given.
func amount[N any](n *N) string { return strings.TrimPrefix(number(n), "0") }

// cpuWeight converts shares of v1, 2 to 262144, to a weight of v2, 1 to 10000.
// A line would make 39 of 1024 shares, the default, but the default of v2 is
// 100. So the logarithms lie on a parabola through both ends and both defaults,
// as in newer releases of runc.
func cpuWeight(shares uint64) string {
	log := math.Log2(float64(min(max(shares, 2), 262144)))
	return fmt.Sprint(math.Ceil(math.Pow(10, (log*log+125*log)/612-7.0/34)))
}
