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

// limit sets limits; those that are not given stay. A new cgroup also gets the
// rules for devices when there are none.
func (c cgroup) limit(r *specs.LinuxResources, created bool) error {
	if r == nil {
		r = &specs.LinuxResources{}
	}
	limits, err := planLimits(r, c.v2, func(controller, file string) string {
		return readCgroup(c.Dirs[controller] + "/" + file)
	})
	if err != nil {
		return err
	}
	// One limit may not go above another: memory above memory with swap, a
	// burst above the quota. What the old value of another forbids is tried
	// once more.
	var refused []limit
	for _, l := range limits {
		if err := c.write(l); errors.Is(err, unix.EINVAL) {
			refused = append(refused, l)
		} else if err != nil {
			return err
		}
	}
	for _, l := range refused {
		if err := c.write(l); err != nil {
			return err
		}
	}
	if created || len(r.Devices) > 0 {
		return c.limitDevices(r.Devices)
	}
	return nil
}

// write sets one limit.
func (c cgroup) write(l limit) error {
	dir := c.Dirs[l.controller]
	if dir == "" {
		return fmt.Errorf(noController, cmp.Or(l.controller, "of cgroup v2"))
	}
	err := writeCgroup(dir+"/"+l.file, l.value)
	noLimit := strings.Contains(l.file, "sw") && (l.value == "max" || l.value == "-1")
	if noLimit && errors.Is(err, os.ErrNotExist) { // the kernel does not count swap
		return nil
	}
	return err
}

// update changes the limits that are given.
func (c cgroup) update(r *specs.LinuxResources) error {
	if err := c.limit(r, false); err != nil {
		return fmt.Errorf("update cgroup: %w", err)
	}
	return nil
}

// A limitPlan collects limits, and the first error.
type limitPlan struct {
	limits []limit
	err    error
	v2     func(controller string) bool         // whether v2 has it
	now    func(controller, file string) string // what a file holds; "" without it
}

// planLimits tells what to write, and in which order. It writes nothing.
// Numbers that are 0 are not given, as docker and runc mean it, and -1 is no
// limit; but that of processes can be 0.
func planLimits(r *specs.LinuxResources, v2 func(string) bool, now func(controller, file string) string) ([]limit, error) {
	p := limitPlan{v2: v2, now: now}
	if r.Memory != nil {
		p.memory(r.Memory)
	}
	if r.CPU != nil {
		p.cpu(r.CPU)
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		var value any = *r.Pids.Limit
		if *r.Pids.Limit < 0 {
			value = "max" // also on v1
		}
		p.set("pids", "pids.max", "pids.max", value)
	}
	if r.BlockIO != nil {
		p.blockIO(r.BlockIO)
	}
	for _, h := range r.HugepageLimits {
		size := "hugetlb." + h.Pagesize
		if _, err := strconv.ParseUint(strings.TrimRight(h.Pagesize, "KMGB"), 10, 64); err != nil {
			p.refuse("page size %q is none like 2MB", h.Pagesize)
		}
		p.set("hugetlb", size+".max", size+".limit_in_bytes", h.Limit)
		// Reserved pages count when they are asked for: no SIGBUS later.
		if p.now("hugetlb", size+".rsvd.max")+p.now("hugetlb", size+".rsvd.limit_in_bytes") != "" {
			p.set("hugetlb", size+".rsvd.max", size+".rsvd.limit_in_bytes", h.Limit)
		}
	}
	for _, device := range slices.Sorted(maps.Keys(r.Rdma)) {
		line := device
		if n := r.Rdma[device].HcaHandles; n != nil {
			line += fmt.Sprint(" hca_handle=", *n)
		}
		if n := r.Rdma[device].HcaObjects; n != nil {
			line += fmt.Sprint(" hca_object=", *n)
		}
		p.set("rdma", "rdma.max", "rdma.max", line)
	}
	if n := r.Network; n != nil {
		if n.ClassID != nil {
			p.set("net_cls", "", "net_cls.classid", *n.ClassID)
		}
		for _, i := range n.Priorities {
			p.set("net_prio", "", "net_prio.ifpriomap", fmt.Sprint(i.Name, " ", i.Priority))
		}
	}
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		// A file elsewhere is no limit, and who is in the cgroup is not to be
		// said here.
		if strings.Contains(file, "/") || !strings.Contains(strings.Trim(file, "."), ".") || file == "cgroup.procs" || file == "cgroup.threads" {
			p.refuse("unified: %q is no file with a limit", file)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(r.Unified[file], "\n"), "\n") {
			p.limits = append(p.limits, limit{"", file, line}) // io.max takes one device at a time
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	return p.limits, nil
}

// set plans to write value to the controller's file, if its version has it.
func (p *limitPlan) set(controller, fileV2, fileV1 string, value any) {
	text := fmt.Sprint(value)
	switch v2 := p.v2(controller); {
	case v2 && fileV2 == "":
		p.refuse("cgroup v2 has no %s", fileV1)
	case !v2 && fileV1 == "":
		p.refuse("cgroup v1 has no %s", fileV2)
	case v2:
		p.limits = append(p.limits, limit{controller, fileV2, text})
	default:
		p.limits = append(p.limits, limit{controller, fileV1, text})
	}
}

// amount plans a limit unless n is 0: it is not given.
func (p *limitPlan) amount(controller, fileV2, fileV1 string, n int64) {
	switch {
	case n > 0:
		p.set(controller, fileV2, fileV1, n)
	case n < 0 && p.v2(controller):
		p.set(controller, fileV2, fileV1, "max")
	case n < 0:
		p.set(controller, fileV2, fileV1, -1)
	}
}

// refuse keeps the first error.
func (p *limitPlan) refuse(format string, args ...any) {
	p.err = cmp.Or(p.err, fmt.Errorf(format, args...))
}

// given returns the number, 0 without one.
func given[N any](n *N) (value N) {
	if n != nil {
		value = *n
	}
	return value
}

// memory plans the limits of memory. Kernel, the limit of the kernel's own
// memory, is ignored as the runtime-spec allows: the kernel has it no more.
func (p *limitPlan) memory(m *specs.LinuxMemory) {
	v2, limit, swap := p.v2("memory"), given(m.Limit), given(m.Swap)
	if m.UseHierarchy != nil && !(v2 && *m.UseHierarchy) { // v2 always does
		p.set("memory", "", "memory.use_hierarchy", bit(*m.UseHierarchy))
	}
	if v2 && given(m.CheckBeforeUpdate) && limit > 0 { // v1 refuses it by itself
		if usage, _ := strconv.ParseInt(p.now("memory", "memory.current"), 10, 64); usage > limit {
			p.refuse("memory limit %d is below the %d in use", limit, usage)
		}
	}
	p.amount("memory", "memory.max", "memory.limit_in_bytes", limit)
	switch {
	case limit < 0 && swap == 0: // else the old limit with swap would hold for memory, too
		p.amount("memory", "memory.swap.max", "memory.memsw.limit_in_bytes", -1)
	case v2 && swap > 0: // v2 counts swap alone, config.json together with memory
		if limit == 0 {
			limit, _ = strconv.ParseInt(p.now("memory", "memory.max"), 10, 64) // "max": 0
		}
		if limit <= 0 || swap < limit {
			p.refuse("memory and swap %d: there must be a limit of memory below it, not %d", swap, limit)
		}
		p.set("memory", "memory.swap.max", "", swap-limit)
	default:
		p.amount("memory", "memory.swap.max", "memory.memsw.limit_in_bytes", swap)
	}
	p.amount("memory", "memory.low", "memory.soft_limit_in_bytes", given(m.Reservation))
	if tcp := given(m.KernelTCP); !v2 || tcp > 0 {
		p.amount("memory", "", "memory.kmem.tcp.limit_in_bytes", tcp)
	}
	if m.Swappiness != nil {
		if *m.Swappiness > 100 {
			p.refuse("swappiness %d is above 100", *m.Swappiness)
		}
		p.set("memory", "", "memory.swappiness", *m.Swappiness)
	}
	if m.DisableOOMKiller != nil && (!v2 || *m.DisableOOMKiller) {
		p.set("memory", "", "memory.oom_control", bit(*m.DisableOOMKiller))
	}
}

// bit is how the kernel writes yes and no.
func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// cpu plans the limits of CPU time, and on which CPUs.
func (p *limitPlan) cpu(c *specs.LinuxCPU) {
	idle := func() {
		if c.Idle != nil {
			p.set("cpu", "cpu.idle", "cpu.idle", *c.Idle)
		}
	}
	// Who is idle has no weight that could be set: be idle after, busy before.
	if given(c.Idle) == 0 {
		idle()
	}
	if shares := given(c.Shares); shares > 0 && p.v2("cpu") {
		p.set("cpu", "cpu.weight", "", cpuWeight(shares))
	} else if shares > 0 {
		p.set("cpu", "", "cpu.shares", shares)
	}
	if given(c.Idle) != 0 {
		idle()
	}
	period, quota := given(c.Period), given(c.Quota)
	if p.v2("cpu") && (period > 0 || quota != 0) {
		value := "max"
		if quota > 0 {
			value = strconv.FormatInt(quota, 10)
		} else if quota == 0 { // it stays, but has to be said: "max 100000"
			value, _, _ = strings.Cut(p.now("cpu", "cpu.max"), " ")
		}
		if period > 0 {
			value += " " + strconv.FormatUint(period, 10)
		}
		p.set("cpu", "cpu.max", "", value)
	} else {
		p.amount("cpu", "", "cpu.cfs_period_us", int64(period))
		p.amount("cpu", "", "cpu.cfs_quota_us", quota)
	}
	if c.Burst != nil {
		p.set("cpu", "cpu.max.burst", "cpu.cfs_burst_us", *c.Burst)
	}
	p.amount("cpu", "", "cpu.rt_period_us", int64(given(c.RealtimePeriod)))
	p.amount("cpu", "", "cpu.rt_runtime_us", given(c.RealtimeRuntime))
	if c.Cpus != "" {
		p.set("cpuset", "cpuset.cpus", "cpuset.cpus", c.Cpus)
	}
	if c.Mems != "" {
		p.set("cpuset", "cpuset.mems", "cpuset.mems", c.Mems)
	}
}

// cpuWeight converts shares of v1, 2 to 262144, to a weight of v2, 1 to 10000.
// A line would make 39 of 1024 shares, the default, but the default of v2 is
// 100. So the logarithms lie on a parabola through both ends and both defaults,
// as in newer releases of runc.
func cpuWeight(shares uint64) uint64 {
	log := math.Log2(float64(min(max(shares, 2), 262144)))
	return uint64(math.Ceil(math.Pow(10, (log*log+125*log)/612-7.0/34)))
}

// blockIO plans the limits of disks: blkio of v1 is io of v2.
func (p *limitPlan) blockIO(b *specs.LinuxBlockIO) {
	controller := "blkio"
	if p.v2("io") {
		controller = "io"
	}
	// Who does weights is the scheduler of the disk, BFQ, and its files are
	// named so; or the controller itself, from 1 to 10000 instead of 10 to
	// 1000.
	weight, bfq := "weight", p.now(controller, controller+".bfq.weight") != ""
	if bfq {
		weight = "bfq.weight"
	}
	set := func(device string, n, leaf *uint16) {
		suffix := ""
		if device != "" {
			suffix = "_device"
		}
		if value := int(given(n)); value > 0 {
			if !bfq && p.v2("io") && value >= 10 {
				value = 1 + (value-10)*9999/990
			}
			p.set(controller, "io."+weight, "blkio."+weight+suffix, device+strconv.Itoa(value))
		}
		if value := int(given(leaf)); value > 0 {
			p.set(controller, "", "blkio.leaf_weight"+suffix, device+strconv.Itoa(value))
		}
	}
	set("", b.Weight, b.LeafWeight)
	for _, d := range b.WeightDevice {
		set(fmt.Sprintf("%d:%d ", d.Major, d.Minor), d.Weight, d.LeafWeight)
	}
	for _, t := range []struct {
		devices   []specs.LinuxThrottleDevice
		key, file string
	}{
		{b.ThrottleReadBpsDevice, "rbps", "read_bps"},
		{b.ThrottleWriteBpsDevice, "wbps", "write_bps"},
		{b.ThrottleReadIOPSDevice, "riops", "read_iops"},
		{b.ThrottleWriteIOPSDevice, "wiops", "write_iops"},
	} {
		for _, d := range t.devices {
			line := fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate)
			if p.v2("io") {
				line = fmt.Sprintf("%d:%d %s=%d", d.Major, d.Minor, t.key, d.Rate)
				if d.Rate == 0 { // no limit, says v1
					line = strings.TrimSuffix(line, "0") + "max"
				}
			}
			p.set(controller, "io.max", "blkio.throttle."+t.file+"_device", line)
		}
	}
}
