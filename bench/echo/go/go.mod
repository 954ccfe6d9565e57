module skua-echo-go

go 1.19
