//go:build !linux

package main

func main() { panic("probe looks at Linux") }
