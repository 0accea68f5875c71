"""The API as a component sees it: interface, HTTP transport, informers, work queues, controllers, leader election."""
