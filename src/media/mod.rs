//! Media of one bridged call.





